"""Begins `scalearn` commands in a moment: all is imported once, and each command is a fork, in a group of its own.

    python launches.py          reads JSON lines: {"start": words, "told": file, "environment": {}} is answered with a
                                process number, {"poll": number} with its exit code, or null while it is under way
    python launches.py WORD...  is that command itself, from its imports on

A command tells what it does where its environment says so:

    SURVIVAL_LOG        a file that gets ``step RUN N`` before a training step, and ``done RUN`` for a finished folder
    SURVIVAL_STEP       seconds that a training step takes longer
    SURVIVAL_DIE_AT     it kills itself instead of making the Nth change of the file system in
    SURVIVAL_DIE_IN     this folder
    SURVIVAL_WORKER     not it but each of its worker processes does so
    SURVIVAL_CHANGES    a file that gets the number of those changes at the end
    SURVIVAL_FILE_SIZE  bytes that a file may have, as on a disk that is full
"""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_at_the_end: list[Callable[[], object]] = []
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def watch(*, worker: bool) -> None:
    """Tells what this process does, where it is asked to."""
    if log := os.environ.get("SURVIVAL_LOG"):
        _tell(Path(log), float(os.environ.get("SURVIVAL_STEP", "0")))
    if (folder := os.environ.get("SURVIVAL_DIE_IN")) and bool(os.environ.get("SURVIVAL_WORKER")) == worker:
        _die(int(os.environ.get("SURVIVAL_DIE_AT", "0")), folder)
    if size := os.environ.get("SURVIVAL_FILE_SIZE"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))


def _tell(log: Path, seconds: float) -> None:
    from scalearn.training import work
    from scalearn.training.trainer import TransferTrainer

    def tell(*words: object) -> None:
        handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, (" ".join(map(str, words)) + "\n").encode())
        os.close(handle)

    step, replace = TransferTrainer.training_step, work.replace_folder

    def training_step(self: TransferTrainer, *args: Any, **kwargs: Any) -> Any:
        tell("step", Path(self.args.output_dir).parent.name[1:].removesuffix(".partial"), self.state.global_step + 1)
        time.sleep(seconds)
        return step(self, *args, **kwargs)

    def replace_folder(new: Path, folder: Path) -> None:
        replace(new, folder)
        tell("done", folder.name)

    TransferTrainer.training_step, work.replace_folder = training_step, replace_folder  # type: ignore[method-assign]


def _die(number: int, folder: str) -> None:
    made = 0

    def hook(event: str, words: tuple[Any, ...]) -> None:
        nonlocal made
        if event == "open":
            changes = isinstance(words[2], int) and bool(words[2] & _WRITES)
        else:
            changes = event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod")
        if not changes or not isinstance(words[0], str | bytes | os.PathLike):
            return
        path = os.fsdecode(words[0])
        if path.startswith(folder) or not os.path.isabs(path):  # what shutil.rmtree removes has no whole path
            made += 1
            if made == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    if path := os.environ.get("SURVIVAL_CHANGES"):
        _at_the_end.append(lambda: Path(path).write_text(str(made)))


def command(words: list[str]) -> None:
    """The command line."""
    from scalearn.cli import main

    sys.argv = ["scalearn", *words]
    watch(worker=False)
    main()


def serve() -> None:
    """Begins commands, and says how they ended."""
    import scalearn.cli.launch
    import scalearn.experiments.report
    import scalearn.experiments.workers  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "poll" in asked:
            number, status = os.waitpid(asked["poll"], os.WNOHANG)
            print(json.dumps(os.waitstatus_to_exitcode(status) if number else None), flush=True)
            continue
        number = os.fork()
        if number:
            os.setpgid(number, number)
            print(number, flush=True)
            continue
        told = os.open(asked["told"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(told, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(asked["environment"])
        code = 1
        try:
            command(asked["start"])
            code = 0
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        for last in (sys.stdout.flush, sys.stderr.flush, *_at_the_end):
            last()
        os._exit(code)


if __name__ == "__main__":
    if words := sys.argv[1:]:
        command(words)
    else:
        serve()
elif __name__ == "__mp_main__":  # a worker process of a command
    watch(worker=True)
