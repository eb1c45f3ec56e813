"""Chooses where a task's data come from, and prepares them."""

from functools import partial
from pathlib import Path

from ssm_bench.data import cache, raw
from ssm_bench.data.task import Task
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError


def prepare(task: Task, tokens: str, work: Work, *, fetch: bool = True, again: bool = False) -> Path | None:
    """Makes sure that a task is prepared.

    Official data come before rebuilt ones and these before generated ones; of the same kind, what is prepared comes
    before the user's files. Only where there is neither, data are downloaded or generated. A set that an earlier
    version prepared is prepared again from the same kind of source, whatever `fetch` says: it never passes for a
    present one, and nothing of another kind takes its place.

    Args:
        task: whose data.
        tokens: one of the task's tokenizations.
        work: how to work.
        fetch: whether to download or generate.
        again: replace what is prepared.

    Returns:
        The folder, or None where there is no source.

    Raises:
        UserError: the source is broken or incomplete, or the cache cannot be written.
    """
    cache.tidy()
    stored = {} if again else dict(cache.prepared(task, tokens))
    # Reversed, so that of two forms of one kind the first one listed stays.
    forms = {form.kind: (form, paths) for form, paths in reversed(raw.available(task))}
    store = partial(cache.store, task, tokens, work=work)
    for kind in cache.KINDS:
        outdated = kind in stored and _is_outdated(task, kind, stored[kind], work)
        if kind in stored and not outdated:
            return stored[kind]
        if kind in forms:
            form, paths = forms[kind]
            return store(kind, partial(form.read, paths, tokens, work), again=again or outdated)
        if outdated and task.fetch_kind == kind:
            return store(kind, partial(task.fetch, tokens, work), again=True)
        if outdated:
            raise cache.damaged(stored[kind], "an earlier version wrote it, and its source is not there")
        if not stored and (lacking := raw.lacking(task, kind)):
            raise UserError(f"the files of {task.spec.name} are incomplete: {lacking}add what is missing, or remove it")
    if fetch and task.fetch_kind:
        return store(task.fetch_kind, partial(task.fetch, tokens, work), again=again)
    return None


def _is_outdated(task: Task, kind: str, folder: Path, work: Work) -> bool:
    """Whether an earlier version of this package wrote a set, or generated other data."""
    if cache.is_outdated(folder):
        work.say(f"{folder.name} was written by an earlier version: preparing it again")
        return True
    if kind != "generated" or not task.fetch_identity:
        return False
    identity = cache.read_card(folder)["identity"]
    if identity == task.fetch_identity:
        return False
    work.say(f"{folder.name} holds {identity}, an earlier version: replacing it by {task.fetch_identity}")
    return True


def no_data(task: Task) -> UserError:
    """The error for a task without a source, with what to fetch and where to put it."""
    return UserError(
        f"there are no data for task {task.spec.name}: {raw.lacking(task)}{task.wanted}, or use --data synthetic"
    )
