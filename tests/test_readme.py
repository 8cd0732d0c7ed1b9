"""What the README tells a newcomer to run, run as it stands: minutes of training on the packaged weights."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that looks like a clone from where the README's commands are given."""
    (tmp_path / "src").symlink_to(REPOSITORY / "src")
    return tmp_path


def run(command: str, place: Path) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-ec", command], cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands(place: Path) -> None:
    commands = [body for kind, body in BLOCKS if not kind and "scalearn transfer" in body]
    assert len(commands) == 2
    output = run("\n".join(commands).replace("alias scalearn=.venv/bin/scalearn\n", ""), place)
    for expected in ("label,contradicted,not stated,supported", "saved in runs/claims", "fits minilm"):
        assert expected in output
    size = sum(path.stat().st_size for path in (place / "runs/claims").rglob("*"))
    assert size < 2**20


def test_the_python(place: Path) -> None:
    (body,) = [body for kind, body in BLOCKS if kind == "python"]
    (place / "snippet.py").write_text(f"{body}\n", encoding="utf-8")
    run(f"{sys.executable} snippet.py", place)
    assert (place / "runs/claims-python/scalearn.json").is_file()


def test_the_demo(place: Path) -> None:
    output = run("scalearn demo --quiet --out demo", place)
    page = (place / "demo/demo.html").read_text(encoding="utf-8")
    for method in ("head", "adapter", "scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++"):
        assert method in output and f"<td>{method}</td>" in page
