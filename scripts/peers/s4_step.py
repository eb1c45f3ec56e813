"""The training step of state-spaces/s4, for S4 and S4D, with its CUDA extension where there is a GPU."""

# pyright: reportMissingImports=false
import functools
import importlib
import sys
import types
from pathlib import Path

from timing import WARM, Cell, Timed, time_torch, torch_device


def measure(cell: Cell, clone: Path) -> Timed:
    """Builds their backbone as the v3 files of configs/experiment/lra do, between an encoder and a linear decoder."""
    import torch
    from torch import nn

    sys.path.insert(0, str(clone))
    _stand_in()
    device = torch_device()
    if device == "cuda":
        sys.modules["structured_kernels"] = build(clone)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    from src.models.sequence.backbones.model import SequenceModel
    from src.models.sequence.kernels import ssm as kernels

    model, mixer, optimizer = cell.config.model, cell.config.mixer, cell.config.optimizer
    diagonal, width = cell.model == "s4d", model.d_model
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
        "dt_transform": "softplus",
        "lr": {"dt": optimizer.ssm_lr if optimizer.groups.step_size == "ssm" else None, "A": 0.001, "B": 0.001},
        "wd": 0.0,
        "n_ssm": mixer.copies or None,
        "l_max": cell.length,
    }

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Embedding(cell.vocabulary, width) if cell.vocabulary else nn.Linear(1, width)
            self.backbone = SequenceModel(
                d_model=width,
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
    extension = "with the authors' CUDA extension for kernels"
    if not kernels.has_cuda_extension:
        extension = "without the authors' CUDA extension: plain PyTorch kernels"
    notes = [
        WARM,
        "sizes of the v3 files of configs/experiment/lra; TF32 for matrix products, as their train.py sets it",
        extension,
        "states pooled and scored by a plain linear layer",
    ]
    return Timed(found | cell.sizes(found["step_ms"], directions=2), notes)


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
    """Parameters by what their `_optim` asks of the optimiser, as their train.py does; those that ask nothing first."""
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
