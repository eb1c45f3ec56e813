"""The training step of the Long Range Arena's Transformer, of PyTorch's own modules."""

# pyright: reportMissingImports=false
from timing import WARM, Cell, findings, time_torch, torch_device

from ssm_bench.bench.recording import Findings

#: Different gray levels, which are the tokens of images.
GRAYS = 256


def measure(cell: Cell, clone: None) -> Findings:
    """Builds an encoder of PyTorch's layers.

    Queries are never narrower than the model there: where they are, it is a plain block around its fused attention.
    """
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.backends.cuda.matmul.allow_tf32 = True
    model, optimizer, device = cell.config.model, cell.config.optimizer, torch_device()
    d_model, heads = model.d_model, cell.config.mixer.heads
    width, mlp = cell.config.mixer.width or d_model, cell.config.scaffold.width
    words = cell.vocabulary or GRAYS

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
            self.qkv, self.out = nn.Linear(d_model, 3 * width), nn.Linear(width, d_model)
            self.up, self.down = nn.Linear(d_model, mlp), nn.Linear(mlp, d_model)
            self.drop = nn.Dropout(model.dropout)

        def forward(self, x):
            b, l, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).view(b, l, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, l, width)
            x = x + self.drop(self.out(y))
            return x + self.drop(self.down(self.drop(F.gelu(self.up(self.norm2(x))))))

    def blocks() -> nn.Module:
        norm = nn.LayerNorm(d_model)
        if width != d_model:
            return nn.Sequential(*(Block() for _ in range(cell.layers)), norm)
        block = nn.TransformerEncoderLayer(
            d_model, heads, mlp, model.dropout, activation="gelu", batch_first=True, norm_first=True
        )
        block.self_attn.dropout = 0.0
        return nn.TransformerEncoder(block, cell.layers, norm=norm, enable_nested_tensor=False)

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Embedding(words, d_model)
            self.positions = nn.Parameter(torch.zeros(1, cell.length, d_model))
            self.blocks, self.drop = blocks(), nn.Dropout(model.dropout)
            pooled = d_model * (4 if cell.pairs else 1)
            self.head = nn.Sequential(nn.Linear(pooled, mlp), nn.GELU(), nn.Linear(mlp, cell.classes))

        def forward(self, x):
            y = self.blocks(self.drop(self.encoder(x) + self.positions)).mean(1)
            if cell.pairs:
                a, b = y.chunk(2)
                y = torch.cat([a, b, a - b, a * b], -1)
            return self.head(y)

    torch.manual_seed(0)
    network = Classifier().to(device)
    adamw = torch.optim.AdamW(
        network.parameters(),
        lr=optimizer.lr,
        weight_decay=optimizer.weight_decay,
        betas=(optimizer.b1, optimizer.b2),
        eps=optimizer.epsilon,
        fused=device == "cuda",
    )
    x = torch.randint(1, words, (cell.rows, cell.length), device=device)
    labels = torch.randint(0, cell.classes, (cell.batch,), device=device)

    def step() -> None:
        adamw.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            loss = F.cross_entropy(network(x), labels)
        loss.backward()
        adamw.step()

    found = time_torch(step)
    plain = "torch.nn.functional.scaled_dot_product_attention in a plain block: its queries are narrower than the model"
    notes = [
        WARM,
        "bfloat16 autocast, fused attention without a mask and without dropout of its weights, mean pooling",
        "torch.nn.TransformerEncoder" if width == d_model else plain,
    ]
    return findings(found | cell.sizes(found["step_ms"], directions=2, bits=16), notes)
