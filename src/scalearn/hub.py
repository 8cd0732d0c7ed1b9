"""Folders on the Hugging Face Hub: fetched into its cache, of a revision, only the files that are needed.

A place on the Hub is written ``owner/name``, ``owner/name@revision`` or, so that it cannot be taken for a folder,
``hub:owner/name/subfolder@revision``; a revision is a branch, a tag or a commit. Where the first two name a folder that
exists, the folder is meant. A collection is written as its slug, ``owner/title-0123456789abcdef01234567``, or as the
address of its page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from scalearn.errors import InputError

PREFIX = "hub:"
_PART = r"[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(f"{_PART}/{_PART}", re.ASCII)
_COLLECTION = re.compile(rf"(?:(?:https?://[^/]+/)?collections/)?({_PART}/[\w.-]+-[0-9a-f]{{24}})", re.ASCII)
_CACHED = re.compile(r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})(?:/(?P<sub>.+))?")


def is_repo_id(text: str) -> bool:
    """Whether the text can be the id of a repository with an owner: ``owner/name``."""
    return bool(_ID.fullmatch(text)) and not re.search(r"--|\.\.|\.git$", text)


def check_repo_id(text: str) -> None:
    """Raises `InputError` unless `is_repo_id`."""
    if not is_repo_id(text):
        raise InputError(
            f"{text!r} is not the id of a repository on the Hub: give owner/name, of letters, digits, '.', '_' and '-'"
        )


def fetch(repo_id: str, *, files: Sequence[str], revision: str | None = None, token: str | None = None) -> Path:
    """A local folder with files of a model repository, from the Hub or from its cache.

    Without network, or with ``HF_HUB_OFFLINE=1``, what was fetched before is found again.

    Args:
        repo_id: ``owner/name``.
        files: patterns as `fnmatch` has them, where ``*`` also stands for slashes; nothing else is fetched.
        revision: a branch, a tag or a commit; the main branch by default.
        token: to authenticate with; by default ``HF_TOKEN`` or that of ``hf auth login``.

    Returns:
        The folder, which belongs to the cache and is named after the commit.

    Raises:
        InputError: there is no such repository or revision, it may not be read, it has none of the files, or the Hub
            cannot be reached and the files are not in the cache.
    """
    from huggingface_hub import snapshot_download

    check_repo_id(repo_id)
    if revision is not None and not is_revision(revision):
        raise InputError(f"{revision!r} is no revision of {repo_id}: give a branch, a tag or a commit")
    with explained(repo_id, revision=revision):
        folder = Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(files), token=token))
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if not any(fnmatch(path, pattern) for path in found for pattern in files):
        raise InputError(f"{repo_id} on the Hub has no {' or '.join(files)}: it is not what is looked for here")
    return folder


def local_or_fetched(
    location: str | Path, *, files: Sequence[str], revision: str | None = None, token: str | None = None
) -> Path:
    """The folder itself if it exists, else what the Hub has under this name; arguments as for `fetch`.

    A location that neither exists nor can be an id is returned as it is, for the caller to say what it lacks.

    Raises:
        InputError: it is no folder, and `fetch` fails.
    """
    place = str(location)
    if not place.startswith(PREFIX) and (Path(location).exists() or not _can_be_fetched(place)):
        return Path(location)
    repo_id, subfolder, named = split_place(place)
    if revision is not None and named is not None:
        raise InputError(f"{place} names a revision, and so does revision={revision!r}: leave one out")
    patterns = [f"{subfolder}/{pattern}" if subfolder else pattern for pattern in files]
    try:
        return fetch(repo_id, files=patterns, revision=revision or named, token=token) / subfolder
    except InputError as error:
        if place.startswith(PREFIX):
            raise
        raise InputError(f"{place} is no folder here; {error}") from error


def split_place(place: str) -> tuple[str, str, str | None]:
    """Repository, subfolder (or ``""``) and revision (or None) of a place on the Hub.

    Raises:
        InputError: it is not written like one.
    """
    path, _, revision = place.removeprefix(PREFIX).partition("@")
    parts = path.split("/")
    repo_id = "/".join(parts[:2])
    plain = all(re.fullmatch(r"[\w+-][\w.+-]*", part, re.ASCII) for part in parts[2:])
    if not is_repo_id(repo_id) or not plain or ("@" in place and not is_revision(revision)):
        raise InputError(f"{place!r} is no place on the Hub: give owner/name, or hub:owner/name/subfolder@revision")
    return repo_id, "/".join(parts[2:]), revision or None


def within(place: str, subfolder: str) -> str:
    """The place of a subfolder of a repository; of the reader's own folder, where it is read itself: the dot."""
    if place == ".":
        return place
    repo_id, at, revision = place.removeprefix(PREFIX).partition("@")
    return f"{PREFIX}{repo_id}/{subfolder}{at}{revision}"


def place_of(folder: Path) -> str | None:
    """The place on the Hub, pinned to its commit, of a folder of the Hub's cache; None for any other folder."""
    cached = _within_cache(folder)
    match = None if cached is None else _CACHED.fullmatch(cached.as_posix())
    if match is None:
        return None
    below = f"/{match['sub']}" if match["sub"] else ""
    return f"{PREFIX}{match['owner']}/{match['name']}{below}@{match['commit']}"


def own_name(folder: Path) -> str:
    """What a folder is called: of a repository in the Hub's cache, the name of the repository."""
    place = place_of(folder)
    return folder.resolve().name if place is None else place.partition("@")[0].rpartition("/")[2]


def is_downloaded(folder: Path) -> bool:
    """Whether the folder lies in the Hub's cache, so that others wrote what is in it."""
    return _within_cache(folder) is not None


def collection_slug(text: str) -> str | None:
    """The slug of the collection that the text names; None if it names none."""
    match = _COLLECTION.fullmatch(text.removeprefix(PREFIX))
    return match[1] if match else None


def models_of(slug: str, *, token: str | None = None) -> list[str]:
    """The ids of the models of a collection, in its order.

    Raises:
        InputError: there is no such collection, it has no models, or the Hub cannot be reached: its cache knows none.
    """
    from huggingface_hub import HfApi

    with explained(f"collections/{slug}"):
        found = HfApi(token=token, library_name="scalearn").get_collection(slug)
    models = [item.item_id for item in found.items if item.item_type == "model"]
    if not models:
        raise InputError(f"the collection {slug} holds zero models: give one of sources, or a repository")
    return models


@contextmanager
def explained(repo_id: str, *, revision: str | None = None) -> Iterator[None]:
    """Turns what `huggingface_hub` raises about a repository into an `InputError` of one line."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{repo_id}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise InputError(f"{repo_id} is gated: ask for access on {page}, then log in with `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"{repo_id} has no revision {revision!r}: give a branch, a tag or a commit of {page}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"there is no {repo_id} on the Hub that you may read: check the name; if it is private, log in with `hf "
            "auth login`, or set HF_TOKEN"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise InputError(f"the Hub is not asked for {repo_id}, for HF_HUB_OFFLINE is set: unset it") from error
    except errors.LocalEntryNotFoundError as error:
        offline = constants.HF_HUB_OFFLINE
        why = "HF_HUB_OFFLINE is set" if offline else f"{constants.ENDPOINT} cannot be reached"
        raise InputError(
            f"{repo_id} is not in the Hub's cache as a whole, and {why}: "
            f"{'unset it' if offline else 'try again with network'}, or give a folder"
        ) from error
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        log_in = "log in with `hf auth login` and a token that may do this"
        todo = {401: log_in, 403: log_in, 404: "check the name"}.get(code, "try again later")
        raise InputError(f"the Hub refuses {repo_id} ({code}: {_reason(error)}): {todo}") from error
    except errors.HTTPError as error:  # type: ignore[attr-defined]  # of the HTTP client, whichever it is
        raise InputError(f"{page} cannot be reached ({_reason(error)}): try again with network") from error


def _can_be_fetched(place: str) -> bool:
    repo_id, _, revision = place.partition("@")
    return is_repo_id(repo_id) and ("@" not in place or is_revision(revision))


def is_revision(text: str) -> bool:
    """Whether the text can be a name in git that stays within the folder of names."""
    return bool(re.fullmatch(r"\w[\w./-]*", text)) and ".." not in text


def _within_cache(folder: Path) -> Path | None:
    from huggingface_hub import constants

    cache, folder = Path(constants.HF_HUB_CACHE).expanduser().resolve(), folder.resolve()
    return folder.relative_to(cache) if folder.is_relative_to(cache) else None


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
