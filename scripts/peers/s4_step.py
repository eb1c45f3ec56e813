"""The training step of state-spaces/s4, for S4 and S4D, timed or trained, with its CUDA extension where it compiles."""

# pyright: reportMissingImports=false
import functools
import importlib
import io
import math
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from timing import WARM, Cell, findings, time_torch, torch_device

from ssm_bench.bench.recording import Findings

SIZES = "sizes of the v3 files of configs/experiment/lra; TF32 for matrix products, as their train.py sets it"


def set_up(clone: Path, *, compiled: bool) -> str:
    """Makes their modules importable, and compiles their extension where there is a GPU.

    Args:
        compiled: raise where the extension does not compile; otherwise continue with their kernels in plain PyTorch.

    Returns:
        Which kernels are used, as a note.
    """
    import torch

    sys.path.insert(0, str(clone))
    _stand_in()
    if torch_device() == "cuda":
        try:
            sys.modules["structured_kernels"] = build(clone)
        except Exception:  # no compiler, no toolkit, or other versions of them
            if compiled:
                raise
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    from src.models.sequence.kernels import ssm as kernels

    if kernels.has_cuda_extension:
        return "with the authors' CUDA extension for kernels"
    return "without the authors' CUDA extension: plain PyTorch kernels"


def backbone(cell: Cell, dt_transform: str) -> Any:
    """Their backbone with the settings of the v3 files of configs/experiment/lra.

    Args:
        dt_transform: "softplus", or "exp" as in the runs of v3.
    """
    from src.models.sequence.backbones.model import SequenceModel

    model, mixer, optimizer = cell.config.model, cell.config.mixer, cell.config.optimizer
    diagonal = cell.model == "s4d"
    layer = {
        "_name_": "s4",
        "d_state": mixer.state_size,
        "channels": 1,
        "bidirectional": True,
        "activation": "gelu",
        "final_act": "glu",
        "tie_dropout": True,
        "layer": "fftconv",
        "mode": "diag" if diagonal else "nplr",
        "init": f"diag-{mixer.init}" if diagonal else mixer.init,
        "rank": 1,
        "dt_min": mixer.dt_min,
        "dt_max": mixer.dt_max,
        "dt_transform": dt_transform,
        "lr": {"dt": optimizer.ssm_lr if optimizer.groups.step_size == "ssm" else None, "A": 0.001, "B": 0.001},
        "wd": 0.0,
        "n_ssm": mixer.copies or None,
        "l_max": cell.length,
    }
    return SequenceModel(
        d_model=model.d_model,
        n_layers=cell.layers,
        transposed=False,
        dropout=model.dropout,
        tie_dropout=True,
        prenorm=model.prenorm,
        layer=layer,
        residual="R",
        norm=model.norm,
        track_norms=False,
    )


def _encoder(cell: Cell) -> Any:
    """A table of tokens, or a linear layer of pixels, as in their configuration."""
    from torch import nn

    width = cell.config.model.d_model
    return nn.Embedding(cell.vocabulary, width) if cell.vocabulary else nn.Linear(1, width)


def measure(cell: Cell, clone: Path) -> Findings:
    """Times a step of their backbone between an encoder and a linear decoder."""
    import torch
    from torch import nn

    extension, device = set_up(clone, compiled=True), torch_device()
    model, optimizer, width = cell.config.model, cell.config.optimizer, cell.config.model.d_model

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = _encoder(cell)
            self.backbone = backbone(cell, "softplus")
            self.mix = nn.Sequential(nn.Linear(4 * width, width), nn.GELU()) if cell.pairs else None
            self.decoder = nn.Linear(width, cell.classes)

        def forward(self, x, lengths):
            y, _ = self.backbone(self.encoder(x), lengths=lengths)
            y = y[:, -1] if model.pooling == "last" else y.mean(1)
            if self.mix is not None:
                a, b = y.chunk(2)
                y = self.mix(torch.cat([a, b, a - b, a * b], -1))
            return self.decoder(y)

    torch.manual_seed(0)
    network = Classifier().to(device)
    adamw = torch.optim.AdamW(_groups(network), lr=optimizer.lr, weight_decay=optimizer.weight_decay)
    if cell.vocabulary:
        x = torch.randint(1, cell.vocabulary, (cell.rows, cell.length), device=device)
        lengths = torch.full((cell.rows,), cell.length, device=device)
    else:
        x, lengths = torch.randn(cell.rows, cell.length, 1, device=device), None
    labels = torch.randint(0, cell.classes, (cell.batch,), device=device)

    def step() -> None:
        adamw.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(x, lengths), labels).backward()
        adamw.step()

    found = time_torch(step)
    notes = [WARM, SIZES, extension, "states pooled and scored by a plain linear layer"]
    return findings(found | cell.sizes(found["step_ms"], directions=2), notes)


class TorchTrainee:
    """Their encoder, backbone and decoder, with the step of their train.py: AdamW by groups, cosine with warm-up."""

    def __init__(self, cell: Cell, clone: Path, schedule: Any, seed: int):
        import torch

        extension, self.device, self.seed = set_up(clone, compiled=False), torch_device(), seed
        from src.tasks.decoders import RetrievalDecoder, SequenceDecoder

        torch.manual_seed(seed)
        config = cell.config
        width, mode = config.model.d_model, "last" if config.model.pooling == "last" else "pool"
        lengths = bool(cell.vocabulary)
        if cell.pairs:
            decoder = RetrievalDecoder(width, cell.classes, nli=True, activation="gelu", mode=mode, use_lengths=lengths)
        else:
            decoder = SequenceDecoder(width, cell.classes, l_output=0, mode=mode, use_lengths=lengths)
        modules = {"encoder": _encoder(cell), "backbone": backbone(cell, "exp"), "decoder": decoder}
        self.network: Any = torch.nn.ModuleDict(modules).to(self.device)
        settings = {"lr": config.optimizer.lr, "weight_decay": config.optimizer.weight_decay}
        self.adamw = torch.optim.AdamW(_groups(self.network), **settings)
        rate = functools.partial(_cosine, warmup=schedule.warmup, steps=schedule.steps)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.adamw, rate)
        self.recipe: dict[str, Any] = {
            "batch_size": cell.batch,
            "n_layers": cell.layers,
            "d_model": width,
            "dropout": config.model.dropout,
            "prenorm": config.model.prenorm,
            "norm": config.model.norm,
            "num_warmup_steps": schedule.warmup,
            "dt_transform": "exp",
            **settings,
            **config.mixer.to_dict(),
        }
        self.notes = [SIZES, extension, "the rate's schedule is written out: in theirs it comes from another library"]

    def _logits(self, batch: Any) -> Any:
        import torch

        x = torch.from_numpy(batch.inputs).to(self.device)
        if batch.lengths is None:
            return self.network["decoder"](self.network["backbone"](self.network["encoder"](x))[0])
        lengths = torch.from_numpy(batch.lengths)
        y, _ = self.network["backbone"](self.network["encoder"](x), lengths=lengths.to(self.device))
        # Their decoder slices by each length: host integers avoid a transfer from the device.
        return self.network["decoder"](y, lengths=lengths.tolist())

    def train(self, batches: Iterable[Any], first: int) -> float:
        """See `peer_training.Trainee`."""
        import torch

        # Dropout depends on the seed and the step alone, so that a run can resume.
        torch.manual_seed(1_000_003 * self.seed + first)
        self.network.train()
        losses = []
        for batch in batches:
            self.adamw.zero_grad(set_to_none=True)
            labels = torch.from_numpy(batch.labels).long().to(self.device)
            loss = torch.nn.functional.cross_entropy(self._logits(batch), labels)
            loss.backward()
            self.adamw.step()
            self.scheduler.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def evaluate(self, batches: Iterable[Any]) -> tuple[float, float]:
        """See `peer_training.Trainee`."""
        import torch

        self.network.eval()
        sums, count = torch.zeros(2, dtype=torch.float64), 0
        with torch.no_grad():
            for batch in batches:
                logits, labels = self._logits(batch).cpu(), torch.from_numpy(batch.labels).long()
                loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
                sums += torch.stack([loss, (logits.argmax(-1) == labels).sum()])
                count += len(labels)
        return float(sums[0]) / count, float(sums[1]) / count

    def dump(self) -> bytes:
        """See `peer_training.Trainee`."""
        import torch

        file = io.BytesIO()
        torch.save({name: part.state_dict() for name, part in self._parts().items()}, file)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        """See `peer_training.Trainee`."""
        import torch

        found = torch.load(io.BytesIO(state), map_location=self.device, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(found[name])

    def peak_bytes(self) -> int | None:
        """See `peer_training.Trainee`."""
        import torch

        return int(torch.cuda.max_memory_allocated()) if self.device == "cuda" else None

    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "optimizer": self.adamw, "scheduler": self.scheduler}


def trainee(cell: Cell, clone: Path, schedule: Any, seed: int) -> TorchTrainee:
    """Their model with their step; see `peer_training.Trainee`."""
    return TorchTrainee(cell, clone, schedule, seed)


def _cosine(step: int, *, warmup: int, steps: int) -> float:
    """The factor of the rate, as `get_cosine_schedule_with_warmup` of transformers, which their configuration names."""
    if step < warmup:
        return step / max(1, warmup)
    return max(0.0, 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))))


@functools.cache
def build(clone: Path) -> types.ModuleType:
    """Compiles extensions/kernels, or finds it compiled."""
    from torch.utils.cpp_extension import load

    folder, source = clone / "build" / "peers", clone / "extensions" / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    return load(
        "structured_kernels",
        [str(source / "cauchy.cpp"), str(source / "cauchy_cuda.cu")],
        # As in their setup.py.
        extra_cflags=["-g", "-march=native", "-funroll-loops"],
        extra_cuda_cflags=["-O2", "-lineinfo", "--use_fast_math"],
        build_directory=str(folder),
    )


def _groups(network) -> list[dict]:
    """Parameters by what their `_optim` asks of the optimizer, as their train.py does; those that ask nothing first."""
    groups = {}
    for parameter in network.parameters():
        settings = getattr(parameter, "_optim", {})
        group = groups.setdefault(tuple(sorted(settings.items())), {"params": []} | settings)
        group["params"].append(parameter)
    return sorted(groups.values(), key=len)


def _stand_in() -> None:
    """Empty modules in place of what the repository imports for its configuration and its training loop alone."""

    def module(name: str, **names) -> types.ModuleType:
        found = types.ModuleType(name)
        vars(found).update(names)
        sys.modules[name] = found
        return found

    def named(path: str):
        owner, _, name = path.rpartition(".")
        return getattr(importlib.import_module(owner), name)

    module("hydra", utils=module("hydra.utils", get_method=named, get_class=named))
    module("omegaconf", ListConfig=list, DictConfig=dict, OmegaConf=object)
    module("pytorch_lightning", Trainer=object, LightningModule=object, Callback=object)
    module("pytorch_lightning.utilities", rank_zero_only=lambda function: function)
