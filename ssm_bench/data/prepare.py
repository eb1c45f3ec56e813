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
    before the user's files. Only where there is neither, data are downloaded or generated. A generated set of an
    earlier version of the generator is generated again, whatever `fetch` says: it never passes for the present set.

    Args:
        task: whose data.
        tokens: one of the task's tokenisations.
        work: how to work.
        fetch: whether to download or generate.
        again: replace what is prepared.

    Returns:
        The folder, or None where there is no source.

    Raises:
        UserError: the source is broken, or the cache cannot be written.
    """
    stored = {} if again else dict(cache.prepared(task, tokens))
    # Reversed, so that of two forms of one kind the first one listed stays.
    forms = {form.kind: (form, paths) for form, paths in reversed(raw.available(task))}
    for kind in cache.KINDS:
        if kind in stored:
            if not _outdated(task, kind, stored[kind], work):
                return stored[kind]
            fetch = again = True
        if kind in forms:
            form, paths = forms[kind]
            return cache.store(task, tokens, kind, partial(form.read, paths, tokens, work), work, again=again)
    if fetch and task.fetch_kind:
        read = partial(task.fetch, tokens, work)
        return cache.store(task, tokens, task.fetch_kind, read, work, again=again)
    return None


def _outdated(task: Task, kind: str, folder: Path, work: Work) -> bool:
    """Whether a set was made by an earlier version of what `task.fetch` does."""
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
