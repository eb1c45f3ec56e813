"""Error messages and exit codes of failed commands."""

import contextlib
import errno
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator

from ssm_bench.errors import ArgumentError, SettingError, UserError, printable

FAILED = 1
USER_MISTAKE = 2
INTERRUPTED = 130

#: If this variable is set to a value other than 0, the traceback of a failure is printed.
DEBUG = "SSM_BENCH_DEBUG"

#: Errors about a path that the user can choose.
_PATH_ERRORS = {
    *(errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY, errno.EPERM, errno.EROFS),
}

_LONGEST = 400

#: Seconds until a lost Ctrl-C is repeated.
_AGAIN = 0.05


@contextlib.contextmanager
def repeated_interrupts() -> Iterator[None]:
    """Repeats a Ctrl-C that Python would print and ignore.

    Python ignores exceptions in callbacks, such as the one that JAX adds to the garbage collector. The signal is
    therefore sent again after the callback has ended.
    """
    earlier, timers = sys.unraisablehook, []

    def hook(ignored: "sys.UnraisableHookArgs") -> None:
        if not issubclass(ignored.exc_type, KeyboardInterrupt):
            earlier(ignored)
            return
        timers.append(threading.Timer(_AGAIN, os.kill, (os.getpid(), signal.SIGINT)))
        timers[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = earlier
        # The command has ended by itself.
        for timer in timers:
            timer.cancel()


def report(error: BaseException) -> int:
    """Prints one sentence about an error on stderr and returns the exit code of the command.

    A `UserError` prints its sentence (exit code 2), Ctrl-C prints "interrupted" (130), and a closed pipe prints nothing
    (0). For any other error (1), the sentence names a log file with the traceback in the folder for temporary files.
    With SSM_BENCH_DEBUG=1, the traceback is printed instead.
    """
    if isinstance(error, BrokenPipeError):
        _discard_output()
        return 0
    if isinstance(error, KeyboardInterrupt):
        _say("interrupted")
        return INTERRUPTED
    code, sentence = _describe(error)
    if isinstance(error, OSError):
        _discard_output()  # standard output may be what failed
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        _say("".join(traceback.format_exception(error)).rstrip())
    elif code == FAILED and (log := _write_log(error)):
        sentence += f"; details in {log}"
    _say(sentence)
    return code


def _describe(error: BaseException) -> tuple[int, str]:
    """The exit code and the sentence for an error."""
    first = _one_line((str(error).strip().splitlines() or [""])[0])[:_LONGEST]
    if isinstance(error, ArgumentError):
        # The arguments of the functions behind a verb are its flags.
        flag = f"--config.{error.name}" if isinstance(error, SettingError) else f"--{error.name.replace('_', '-')}"
        error = ArgumentError(flag, *error.words)
    if isinstance(error, UserError):
        return USER_MISTAKE, f"error: {_one_line(str(error))}"
    if isinstance(error, OSError) and error.strerror:
        where = f": {_one_line(str(error.filename))}" if error.filename is not None else ""
        code = USER_MISTAKE if where and error.errno in _PATH_ERRORS else FAILED
        return code, f"error: {error.strerror}{where}"
    if isinstance(error, RuntimeError) and "home directory" in first:
        return USER_MISTAKE, "error: this user has no home directory: set HOME, or SSM_BENCH_CACHE to a folder for data"
    if isinstance(error, RuntimeError) and "nable to initialize backend" in first:
        return USER_MISTAKE, f"error: JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}: {first}"
    return FAILED, f"internal error: {type(error).__name__}{': ' if first else ''}{first}"


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _write_log(error: BaseException) -> str:
    """The path of a new file with the traceback; empty if none can be written."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="ssm-bench-", suffix=".log")
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return ""
    return path


def _discard_output() -> None:
    """Redirects standard output to the null device: flushing its buffer at exit would fail again."""
    if sys.stdout is None or sys.stdout is not sys.__stdout__:  # closed, or replaced by a caller of `main`
        return
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # stderr may be closed or on a full disk
        print(text, file=sys.stderr, flush=True)
