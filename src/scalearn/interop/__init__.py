"""Other libraries' files, read and written: AdapterHub (`adapterhub`), PEFT (`peft`), ONNX (`onnx`)."""
