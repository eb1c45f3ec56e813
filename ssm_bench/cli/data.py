"""`ssm-bench data`: prepares, describes, lists, verifies and exports the data of the tasks."""

import argparse
from pathlib import Path

HELP = "prepare, describe, list, verify or export the data of the tasks"
EXAMPLE = """examples:
  ssm-bench data list
  ssm-bench data prepare listops text --workers 2
  ssm-bench data describe text --examples 1
  ssm-bench data describe image --examples 6 --out image.png
  ssm-bench data verify
  ssm-bench data export listops --data-dir ~/tensorflow_datasets

SSM_BENCH_RAW is the folder with your data files. SSM_BENCH_CACHE is the folder for prepared arrays (default:
~/.cache/ssm_bench). docs/data.md lists the supported files."""

_SHOWN_CHARACTERS = 1000
_SHOWN_VOCABULARY = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    prepare = actions.add_parser("prepare", help="prepare data into the cache; download or generate if necessary")
    prepare.add_argument("tasks", nargs="+", metavar="TASK", help="names of tasks, or 'all' for all but probes")
    _tokens(prepare)
    prepare.add_argument("--workers", type=int, default=0, help="processes (default: one per core)")
    prepare.add_argument("--again", action="store_true", help="replace data that are already prepared")

    describe = actions.add_parser("describe", help="show the data card of a task and some examples")
    describe.add_argument("task", metavar="TASK")
    _tokens(describe)
    describe.add_argument("--data", default="auto", help="auto, real or synthetic (default: auto)")
    describe.add_argument("--protocol", default="strict", help="strict, paper or lra (default: strict)")
    describe.add_argument(
        "--examples", "--examples-shown", type=int, default=3, metavar="N", help="training examples (default: 3)"
    )
    describe.add_argument(
        "--out", type=Path, metavar="FILE", help="write only the examples, as a page (.md) or picture (.png)"
    )

    actions.add_parser("list", help="list prepared data and source files")

    verify = actions.add_parser("verify", help="recompute checksums and facts of prepared data, and find duplicates")
    verify.add_argument("tasks", nargs="*", metavar="TASK", help="names of tasks (default: all)")
    verify.add_argument("--workers", type=int, default=0, help="processes (default: one per core)")

    export = actions.add_parser("export", help="write a task for TensorFlow Datasets, without TensorFlow")
    export.add_argument("task", metavar="TASK", help="listops, retrieval, pathfinder or pathx")
    _tokens(export)
    export.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="TensorFlow Datasets' data_dir")


def _tokens(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", default="characters", help="characters or bytes, for text and retrieval")


def run(options: argparse.Namespace) -> int:
    """Runs one action; verify returns 1 if data are damaged or differ from the recorded facts."""
    return _ACTIONS[options.action](options)


def _prepare(options: argparse.Namespace) -> int:
    from ssm_bench.data import tasks
    from ssm_bench.data.dataset import TOKENS
    from ssm_bench.data.prepare import no_data, prepare
    from ssm_bench.data.task import LRA
    from ssm_bench.data.work import Work
    from ssm_bench.errors import UserError, unknown_name

    if options.tokens not in TOKENS:
        raise unknown_name("--tokens", options.tokens, TOKENS)
    if options.workers < 0:
        raise UserError(f"--workers {options.workers} must be 0 (one per core) or more")
    if options.tasks != ["all"]:
        # Every name is looked up before the first task is prepared.
        for task in tasks(options.tasks):
            folder = prepare(task, task.tokens(options.tokens), Work(options.workers), again=options.again)
            if folder is None:
                raise no_data(task)
            _report(task, folder)
        return 0
    failed = 0
    # Probes are generated in seconds when they are first used.
    for task in tasks(suite=LRA):
        try:
            folder = prepare(task, task.tokens(options.tokens), Work(options.workers), again=options.again)
        except UserError as error:
            failed = 1
            print(f"{task.spec.name}: failed: {error}")
            continue
        if folder is None:
            print(f"{task.spec.name}: skipped, there is no source: {task.wanted}")
        else:
            _report(task, folder)
    return failed


def _report(task, folder) -> None:
    from ssm_bench.data import cache

    card = cache.read_card(folder)
    examples = sum(card["parts"].values())
    print(f"{task.spec.name}: {card['identity']}, {examples:,} examples, {_size(folder)}, {folder}", flush=True)


def _describe(options: argparse.Namespace) -> int:
    from ssm_bench.data import examples, load
    from ssm_bench.errors import UserError

    if options.examples < 0:
        raise UserError(f"--examples {options.examples} must be 0 or more")
    dataset = load(options.task, data=options.data, protocol=options.protocol, tokens=options.tokens)
    if options.out:
        named = f"ssm-bench data describe {options.task} --data {options.data} --examples {options.examples}"
        examples.write(dataset, options.examples, options.out, f"{named} --out {options.out}")
        print(f"wrote {options.out}: {options.examples} examples of {dataset.card['identity']}")
        return 0
    card = dataset.card
    facts = {
        "data": card["identity"],
        "kind": card["kind"],
        "source": card["source"],
        "citation": card["citation"],
        "license": card["license"],
        "protocol": card["protocol"],
        "checksum": card["checksum"],
        "tokens": f"{card['tokens']}, at most {card['max_length']:,} a document",
    }
    if card["vocabulary"]:
        shown = " ".join(repr(token)[1:-1] for token in card["vocabulary"][:_SHOWN_VOCABULARY])
        more = " ..." if len(card["vocabulary"]) > _SHOWN_VOCABULARY else ""
        facts["vocabulary"] = f"{len(card['vocabulary'])} ids, SHA-256 {card['vocabulary_sha256'][:16]}: {shown}{more}"
    facts |= {name.replace("_", " "): value for name, value in card["notes"].items()}
    print(f"{dataset.spec.title}: {dataset.spec.classes} classes, {card['documents']:,} documents")
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"  {name:<{width}}  {value}")
    for split, count in card["counts"].items():
        print(f"\n{split}: {count:,} examples")
        print(f"  {'labels':<12} " + "  ".join(f"{i}: {n:,}" for i, n in enumerate(card["labels"][split])))
        quantiles = "  ".join(f"{float(q):.0%}: {length:,}" for q, length in card["lengths"][split].items())
        print(f"  {'lengths':<12} {quantiles}")
    for example in dataset.splits["train"][: options.examples].tolist():
        text = dataset.decode(example)
        cut = (
            f"\n... ({len(text):,} characters)" if card["tokens"] != "pixels" and len(text) > _SHOWN_CHARACTERS else ""
        )
        print(f"\nexample {example}, label {dataset.labels[example]}")
        print(text[:_SHOWN_CHARACTERS] + cut if cut else text)
    return 0


def _list(options: argparse.Namespace) -> int:
    from ssm_bench.data import cache, raw
    from ssm_bench.data.dataset import tasks_and_variants
    from ssm_bench.errors import UserError

    raw_folder = raw.folder()
    print(f"prepared, in {cache.root()}:")
    found = [
        (task, folder)
        for task in tasks_and_variants()
        for tokens in task.tokenizations
        for _, folder in cache.prepared(task, tokens)
    ]
    for task, folder in found:
        try:
            card = cache.open_corpus(folder, task.spec.classes)[1]
            print(f"  {folder.name:<32} {_size(folder):>9}  {sum(card['parts'].values()):>9,}  {card['identity']}")
        except UserError as error:
            print(f"  {folder.name:<32} {error}")
    if not found:
        print("  nothing")
    print(f"\nfiles, in {raw_folder}:" if raw_folder else f"\nfiles: {raw.VARIABLE} is not set")
    for task in tasks_and_variants():
        forms = raw.available(task)
        for form, paths in forms:
            rest = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            print(f"  {task.spec.name:<12} {form.kind:<10} {sum(map(_bytes, paths)) / 1e6:>9,.1f} MB  {paths[0]}{rest}")
        if raw_folder and not forms and not task.variant:
            print(f"  {task.spec.name:<12} nothing found: {raw.lacking(task)}{task.wanted}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from ssm_bench.data import cache
    from ssm_bench.data.dataset import tasks_and_variants
    from ssm_bench.data.verify import verify
    from ssm_bench.data.work import Work
    from ssm_bench.errors import UserError

    chosen = tasks_and_variants(options.tasks)
    folders = [
        (task, folder) for task in chosen for tokens in task.tokenizations for _, folder in cache.prepared(task, tokens)
    ]
    if not folders:
        raise UserError(
            f"nothing to verify: {cache.root()} holds no prepared data of {', '.join(options.tasks) or 'any task'}"
        )
    failed = 0
    for task, folder in folders:
        damage, checks = verify(task, folder, Work(options.workers))
        failed += bool(damage) or not all(check.holds for check in checks)
        print(f"{folder.name}: {'damaged' if damage else 'intact'}")
        for sentence in damage:
            print(f"  {sentence}")
        width = max((len(check.name) for check in checks), default=0)
        for check in checks:
            verdict = "" if not check.expected else " = " if check.holds else " DIFFERS from "
            print(f"  {check.name:<{width}}  {check.seen}{verdict}{check.expected}")
        if checks and (facts := task.facts.get(cache.read_card(folder)["kind"])):
            print(f"  recorded: {facts.source}")
    return 1 if failed else 0


def _export(options: argparse.Namespace) -> int:
    from ssm_bench.errors import UserError

    try:
        from ssm_bench.data import tfds_builders
    except ImportError as error:
        raise UserError(f"export needs TensorFlow Datasets: make setup EXTRAS=data ({error})") from error
    try:
        name, folder = tfds_builders.build(options.task, options.tokens, options.data_dir.expanduser())
    except OSError as error:
        raise UserError(f"cannot write to --data-dir {options.data_dir}: {error.strerror or error}") from error
    print(f"{name}, {folder}")
    print(
        f'read it with: tfds.data_source("{name}", data_dir="{options.data_dir}", '
        f'builder_kwargs={{"file_format": "{tfds_builders.FILE_FORMAT}"}})'
    )
    return 0


_ACTIONS = {"prepare": _prepare, "describe": _describe, "list": _list, "verify": _verify, "export": _export}


def _size(folder) -> str:
    return f"{_bytes(folder) / 1e6:,.1f} MB"


def _bytes(path) -> int:
    """Bytes of a file, or of the files directly in a folder: a release folder holds too many to count."""
    if path.is_file():
        return path.stat().st_size
    return sum(inner.stat().st_size for inner in path.iterdir() if inner.is_file())
