"""Uploading to the Hugging Face Hub: a folder becomes the content of a repository, repositories become a collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from scalearn.errors import InputError
from scalearn.hub import PREFIX, check_repo_id, explained, is_revision


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What an upload made."""

    url: str
    """The page of the repository or of the collection."""
    place: str
    """What others load: a place pinned to the commit, or the slug of the collection."""
    commit: str
    """Empty for a collection."""


class Pushing(TypedDict, total=False):
    """What all uploads can be told."""

    private: bool
    """Make the repository so that only its owner sees it; false by default."""
    revision: str | None
    """A branch, made where there is none; the main branch by default."""
    token: str | None
    """To authenticate with; by default ``HF_TOKEN`` or that of ``hf auth login``."""
    commit_message: str | None
    """By default what is uploaded."""


def called(repo_id: str, how: Pushing) -> str:
    """The place that a card names.

    Raises:
        InputError: there can be no such repository or branch.
    """
    check_repo_id(repo_id)
    revision = how.get("revision")
    if revision is not None and not is_revision(revision):
        raise InputError(f"{revision!r} can be no branch of {repo_id}: choose letters, digits, '.', '_', '-' and '/'")
    return repo_id if revision is None else f"{repo_id}@{revision}"


def upload(folder: Path, repo_id: str, how: Pushing, *, replacing: Sequence[str], message: str) -> Pushed:
    """Makes a folder the content of a model repository, in one commit; makes the repository where there is none.

    Args:
        folder: all that is in it is uploaded.
        repo_id: ``owner/name``.
        how: as `Pushing` says.
        replacing: patterns of files that go away if they are not in the folder; others in the repository stay.
        message: of the commit, if none is given.

    Raises:
        InputError: the repository may not be written, or it shall be private and is public.
    """
    from huggingface_hub import HfApi, constants

    private, revision = how.get("private", False), how.get("revision")
    api = HfApi(token=how.get("token"), library_name="scalearn")
    with explained(repo_id, revision=revision):
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        if private and not api.model_info(repo_id).private:
            raise InputError(f"{repo_id} exists and is public: make it private on its page, or choose another name")
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=how.get("commit_message") or message,
            delete_patterns=list(replacing),
        )
    return Pushed(url=f"{constants.ENDPOINT}/{repo_id}", place=f"{PREFIX}{repo_id}@{done.oid}", commit=done.oid)


def collect(repo_ids: Sequence[str], how: Pushing, *, title: str, owner: str) -> Pushed:
    """Puts models into a collection of this title, made where there is none.

    Raises:
        InputError: the Hub refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=how.get("token"), library_name="scalearn")
    with explained(f"collections/{owner}/{title}"):
        made = api.create_collection(title, namespace=owner, private=how.get("private", False), exists_ok=True)
        for repo_id in repo_ids:
            api.add_collection_item(made.slug, repo_id, "model", exists_ok=True)
    return Pushed(url=made.url, place=made.slug, commit="")
