"""What a card says of places."""

from pathlib import Path

import pytest

from scalearn.cards.private import last_part, shareable_name, shown_command, shown_place, without_places


@pytest.mark.parametrize(
    ("place", "last"),
    [("/home/ann/models/tiny", "tiny"), ("tiny/", "tiny"), (r"C:\Users\ann\tiny", "tiny"), ("tiny", "tiny")],
)
def test_last_part(place: str, last: str) -> None:
    assert last_part(place) == last


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("sources/rte", "sources/rte"),
        ("../shelf/rte", "../shelf/rte"),
        ("../../rte", "../../rte"),
        ("../../../home/ann/shelf/rte", ".../rte"),
        ("/shelf/rte", ".../rte"),
        (r"C:\rte", ".../rte"),
        ("~/rte", ".../rte"),
    ],
)
def test_shown_place(place: str, shown: str) -> None:
    assert shown_place(place) == shown


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (
            "scalearn train rte --out shelf/rte --learning-rate 1e-3",
            "scalearn train rte --out shelf/rte --learning-rate 1e-3",
        ),
        ("scalearn train --train-file /home/ann/x.csv", "scalearn train --train-file x.csv"),
        ("scalearn train --train-file=/home/ann/x.csv", "scalearn train --train-file=x.csv"),
        ("scalearn train --train-file '/home/ann lee/my rows.csv'", "scalearn train --train-file 'my rows.csv'"),
        ("scalearn train --out ../../ann/runs", "scalearn train --out runs"),
        ("scalearn train --out ~/runs/a --data ~", "scalearn train --out a --data ."),
        ("scalearn train --out ~ann --data .. --name /", "scalearn train --out . --data . --name ."),
        ("scalearn probe --sources a,/home/ann/b", "scalearn probe --sources a,b"),
        (r"scalearn train --out 'C:\Users\ann\runs'", "scalearn train --out runs"),
        ("scalearn train --backbone sentence-transformers/x", "scalearn train --backbone sentence-transformers/x"),
        ("scalearn train --name 'a b' --text premise,claim", "scalearn train --name 'a b' --text premise,claim"),
    ],
)
def test_shown_command(command: str, shown: str) -> None:
    assert shown_command(command) == shown


@pytest.mark.parametrize(
    "command",
    [None, "", 5, ["scalearn"], "scalearn 'unclosed", "scalearn --x 'see \"/home/ann\"'", "scalearn --x '(/home/ann)'"],
)
def test_a_command_that_cannot_be_shown_is_left_out(command: object) -> None:
    assert shown_command(command) is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("minilm", "minilm"),
        ("google-bert/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("/home/ann/models/mine", "./mine"),
        ("models/ours/mine", "./mine"),
        ("../mine", "./mine"),
        ("C:\\Users\\ann\\mine", "./mine"),
        ("~/mine", "./mine"),
    ],
)
def test_the_name_of_a_backbone(name: str, shown: str) -> None:
    assert shareable_name(name) == shown


def test_a_backbone_that_is_a_folder_here_is_no_name_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models/mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert shareable_name("models/mine") == shareable_name("models/mine/") == "./mine"


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        ({"seed": 3, "rate": 0.5, "on": None, "x": True}, {"seed": 3, "rate": 0.5, "on": None, "x": True}),
        ("a plain text, with 1/2 and 3/4", "a plain text, with 1/2 and 3/4"),
        ({"command": ["scalearn run /home/ann/x.yaml"]}, {"command": ["scalearn run x.yaml"]}),
        (("/home/ann/x",), ["x"]),
        ("--data=../../glue", "--data=glue"),
        ("kept in /home/ann's", None),
        ("..", "."),
        ("x..y and 1...2", "x..y and 1...2"),
    ],
)
def test_facts_name_no_places(fact: object, said: object) -> None:
    assert without_places(fact) == said
