"""One framework in a process of its own: it builds a model and takes training steps when told to.

``train_step.py`` starts it with a setting as JSON and writes the number of steps it wants on standard input. A step is
forward, backward, clipping and optimizer. The loss is each framework's own: paribus's loop, ``labels=`` in
transformers, ``chunked_cross_entropy`` as in litgpt's pretraining, x-transformers' AutoregressiveWrapper.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

CLIP = 1.0
MEMORY_SHARE = 0.9  # of what is free, for the process whose turn it is


@dataclass(frozen=True)
class Size:
    """A study's baseline and its batch, in words that every framework understands.

    Args:
        d_ff: hidden width of an expert of two matrices where there are ``experts``, else of a SwiGLU MLP.
        study, scale: where paribus's own model comes from.
        windows: rows of a step; ``micro`` of them go through the model at once.
    """

    study: str
    scale: str
    vocab: int
    d_model: int
    layers: int
    heads: int
    d_ff: int
    experts: int
    seq_len: int
    windows: int
    micro: int

    @property
    def tokens(self) -> int:
        return self.windows * self.seq_len

    @property
    def gated(self) -> int:
        """Width of a gated expert, which has three matrices, of as many parameters: a multiple of 8."""
        return 8 * round(self.d_ff * 2 / 3 / 8)


SIZES = {
    "paper": Size("rmsnorm", "paper", 49152, 256, 3, 4, 1024, 8, 256, 16, 16),
    "quick": Size("norm", "quick", 1024, 96, 3, 3, 256, 0, 128, 16, 16),
    "quick MoE": Size("rmsnorm", "quick", 1024, 96, 3, 3, 192, 8, 128, 16, 16),
    "large": Size("attention", "paper", 49152, 512, 6, 8, 2048, 8, 512, 32, 2),
}


def main() -> None:
    """Answer one JSON line when the model is built, and one for every number of steps that is read."""
    setting = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a framework prints is no answer
    try:
        import_module("torch._dynamo")  # torch's optimizers import it: it is no framework's memory
        limit_memory()
        work = MAKERS[setting["framework"]](setting)
        print(json.dumps({"status": "ready"}), file=answers)
        for line in sys.stdin:
            limit_memory()
            answer = work(int(line))
            give_memory_back()  # before the answer, which begins the turn of another process
            print(json.dumps(answer), file=answers)
    except ImportError as error:
        print(json.dumps({"status": f"missing: {error}"}), file=answers)
    except MemoryError as error:
        print(json.dumps({"status": f"too little memory: {error}"}), file=answers)
    except Exception as error:  # whatever a framework raises is what the table says of it
        print(json.dumps({"status": f"failed: {str(error).strip().splitlines()[-1][:120]}"}), file=answers)


def make_paribus(setting: dict[str, Any]) -> Callable[[int], dict[str, Any]]:
    import torch

    import paribus as pb
    from paribus.design.study_files import read_study
    from paribus.nn import build_model, roles
    from paribus.training.optim import build_optimizer
    from paribus.training.step import accumulate_gradients, run_after_step, update_weights

    size = SIZES[setting["size"]]
    study = read_study(size.study).choose(size.scale)
    imported = peak_memory()
    spec = study.baseline if setting["dropout"] else study.baseline.replace("dropout", 0.0)
    model = build_model(spec, 0, vocab_size=size.vocab, seq_len=size.seq_len).train()
    adamw = pb.spec(torch.optim.AdamW, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    optimizer = build_optimizer(
        study.training.optimizer if setting["optimizer"] == "MuonAdamW" else adamw, model, roles(model)
    )
    tokens, targets = draw_batch(size)
    return make_stepper(
        lambda rows: accumulate_gradients(
            model, tokens[:rows], targets[:rows], size.micro, "cpu", setting["precision"]
        ),
        lambda: (update_weights(optimizer), run_after_step(model)),
        model,
        size,
        imported,
    )


def make_peer(setting: dict[str, Any]) -> Callable[[int], dict[str, Any]]:
    import torch

    builder = BUILDERS[setting["framework"]]
    for module in builder.imports:
        import_module(module)
    imported = peak_memory()
    size = SIZES[setting["size"]]
    if setting["implementation"] == "batched_mm":
        refuse_what_does_not_fit(builder.build, size, setting["implementation"])
    model, loss_of = builder.build(size, setting["implementation"])
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    tokens, targets = draw_batch(size)

    def add_gradients(rows: int) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=setting["precision"] == "bf16"):
            loss = loss_of(tokens[:rows], targets[:rows])
        loss.backward()

    def apply_gradients() -> None:
        optimizer.step()
        optimizer.zero_grad()

    return make_stepper(add_gradients, apply_gradients, model, size, imported)


def make_stepper(
    add_gradients: Callable[[int], Any], apply_gradients: Callable[[], Any], model: Any, size: Size, imported: int
) -> Callable[[int], dict[str, Any]]:
    """Takes a step on one micro batch that does not count, and then ``count`` whole ones that do.

    The first leaves the optimizer's state, without which the peak would be too low. With ``count`` 0 the first is all
    there is, and counts.
    """
    import torch

    parameters = list(model.parameters())

    def work(count: int) -> dict[str, Any]:
        whole, optimizer = [], []
        for step in range(count + 1):
            began = time.perf_counter()
            add_gradients(size.windows if step else size.micro)
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            halfway = time.perf_counter()
            apply_gradients()
            if step or not count:
                whole.append(time.perf_counter() - began)
                optimizer.append(time.perf_counter() - halfway)
        return {
            "status": "ok",
            "seconds": statistics.median(whole),
            "optimizer_seconds": statistics.median(optimizer),
            "peak_bytes": peak_memory() - imported,
            "parameters": sum(p.numel() for p in parameters),
        }

    return work


def build_mixtral(size: Size, implementation: str) -> tuple[Any, Callable[[Any, Any], Any]]:
    from transformers import MixtralConfig, MixtralForCausalLM

    return _transformers(
        MixtralForCausalLM,
        MixtralConfig,
        size,
        implementation,
        intermediate_size=size.gated,
        num_key_value_heads=size.heads,
        num_local_experts=size.experts,
        num_experts_per_tok=2,
        output_router_logits=True,  # its balance loss, as in paribus's model
        router_aux_loss_coef=0.01,
    )


def build_deepseek(size: Size, implementation: str) -> tuple[Any, Callable[[Any, Any], Any]]:
    """Latent attention of the same head width; two routed experts and the shared one are as wide as paribus's two."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    head = size.d_model // size.heads
    return _transformers(
        DeepseekV3ForCausalLM,
        DeepseekV3Config,
        size,
        implementation,
        intermediate_size=size.d_ff,
        moe_intermediate_size=8 * round(size.gated * 2 / 3 / 8),
        num_key_value_heads=size.heads,
        n_routed_experts=max(size.experts, 1),
        num_experts_per_tok=2 if size.experts else 1,
        n_shared_experts=1,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=0 if size.experts else size.layers,
        q_lora_rank=None,
        kv_lora_rank=size.d_model // 2,
        qk_rope_head_dim=head // 2,
        qk_nope_head_dim=head // 2,
        v_head_dim=head,
        num_mtp_layers=0,
    )


def build_llama(size: Size, implementation: str) -> tuple[Any, Callable[[Any, Any], Any]]:
    from transformers import LlamaConfig, LlamaForCausalLM

    return _transformers(LlamaForCausalLM, LlamaConfig, size, "", intermediate_size=size.d_ff)


def _transformers(
    model_class: Any, config_class: Any, size: Size, implementation: str, **own: Any
) -> tuple[Any, Callable[[Any, Any], Any]]:
    config = config_class(
        vocab_size=size.vocab,
        hidden_size=size.d_model,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=size.seq_len,
        tie_word_embeddings=True,
        use_cache=False,
        **own,
    )
    chosen = {"experts_implementation": implementation} if implementation else {}
    model = model_class._from_config(config, attn_implementation="sdpa", **chosen)
    return model, lambda tokens, targets: model(input_ids=tokens, labels=tokens).loss


def build_litgpt(size: Size, implementation: str) -> tuple[Any, Callable[[Any, Any], Any]]:
    from litgpt.config import Config
    from litgpt.model import GPT
    from litgpt.utils import chunked_cross_entropy

    experts = {"n_expert": size.experts, "n_expert_per_token": 2} if size.experts else {}
    config = Config(
        block_size=size.seq_len,
        padded_vocab_size=size.vocab,
        n_layer=size.layers,
        n_embd=size.d_model,
        n_head=size.heads,
        intermediate_size=size.gated if size.experts else size.d_ff,
        norm_class_name="RMSNorm",
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        mlp_class_name="LLaMAMoE" if experts else "LLaMAMLP",
        **experts,
    )
    model = GPT(config)
    model.transformer.wte.weight = model.lm_head.weight  # as its pretraining ties them
    return model, lambda tokens, targets: chunked_cross_entropy(model(tokens), targets)


def build_x_transformers(size: Size, implementation: str) -> tuple[Any, Callable[[Any, Any], Any]]:
    """Dense: where paribus has experts, an MLP as wide as the two that a token uses. Eager: attention in products."""
    from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    width = 2 * size.d_ff if size.experts else size.d_ff
    decoder = Decoder(
        dim=size.d_model,
        depth=size.layers,
        heads=size.heads,
        attn_dim_head=size.d_model // size.heads,
        attn_flash=implementation != "eager",
        rotary_pos_emb=True,
        ff_swish=True,
        ff_glu=not size.experts,
        ff_no_bias=True,
        ff_mult=width / size.d_model,
    )
    sizes = {"num_tokens": size.vocab, "max_seq_len": size.seq_len}
    model = AutoregressiveWrapper(
        TransformerWrapper(**sizes, attn_layers=decoder, tie_embedding=True, use_abs_pos_emb=False)
    )
    return model, lambda tokens, targets: model(tokens)


@dataclass(frozen=True)
class Builder:
    """How a peer's model is built, and what has to be imported for it."""

    build: Callable[[Size, str], tuple[Any, Callable[[Any, Any], Any]]]
    imports: tuple[str, ...]


_HUGGING_FACE = "transformers.models"
BUILDERS = {
    "transformers Mixtral": Builder(build_mixtral, (f"{_HUGGING_FACE}.mixtral.modeling_mixtral",)),
    "transformers DeepSeek-V3": Builder(build_deepseek, (f"{_HUGGING_FACE}.deepseek_v3.modeling_deepseek_v3",)),
    "transformers Llama": Builder(build_llama, (f"{_HUGGING_FACE}.llama.modeling_llama",)),
    "litgpt": Builder(build_litgpt, ("litgpt.model", "litgpt.utils")),
    "x-transformers (dense)": Builder(build_x_transformers, ("x_transformers",)),
}


def make_flop_counter(setting: dict[str, Any]) -> Callable[[int], dict[str, Any]]:
    """Training FLOPs per token of installed frameworks' models, by paribus's count on one window of plain products."""
    import torch

    from paribus.design.study_files import read_study
    from paribus.nn import build_model
    from paribus.training.cost import count_flops

    class Logits(torch.nn.Module):
        """A peer's model as a function from tokens to logits."""

        def __init__(self, model: torch.nn.Module):
            super().__init__()
            self.model = getattr(model, "net", model)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            logits = self.model(tokens)
            return getattr(logits, "logits", logits)

    def count(framework: str, size: Size) -> float | None:
        if framework == "paribus":
            baseline = read_study(size.study).choose(size.scale).baseline
            model = build_model(baseline, 0, vocab_size=size.vocab, seq_len=size.seq_len)
        else:
            try:  # eager: its products are all counted, and the other implementations compute the same
                model = Logits(BUILDERS[framework].build(size, "eager")[0])
            except ImportError:
                return None  # its own row says what is missing
        return count_flops(model, size.seq_len)["training_flops_per_token"]

    return lambda _: {"status": "ok", "flops": [count(name, SIZES[size]) for name, size in setting["counted"]]}


def make_gemm(setting: dict[str, Any]) -> Callable[[int], dict[str, Any]]:
    """GFLOP/s of matrix products: two squares and the head of the paper size on two windows, the best of ``count``.

    The products in bf16 are small ones first: a processor without units for them can be a thousand times slower.
    """
    import torch

    size = SIZES["paper"]
    shapes = {"2048 square": (2048, 2048, 2048), "head": (2 * size.seq_len, size.d_model, size.vocab)}

    def rate(rows: int, inner: int, columns: int, dtype: torch.dtype, count: int) -> float:
        left, right = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
        seconds = []
        for _ in range(count + 1):
            began = time.perf_counter()
            torch.nn.functional.linear(left, right)
            seconds.append(time.perf_counter() - began)
        return 2e-9 * rows * inner * columns / min(seconds[1:])

    def work(count: int) -> dict[str, Any]:
        found = {}
        for name, dtype in {"fp32": torch.float32, "bf16": torch.bfloat16}.items():
            small = found[f"{name} 512 square"] = rate(512, 512, 512, dtype, count)
            if small >= found["fp32 512 square"] / 2:
                found |= {f"{name} {shape}": rate(*sizes, dtype, count) for shape, sizes in shapes.items()}
        return {"status": "ok", "gflops": found}

    return work


MAKERS = {
    "paribus": make_paribus,
    **dict.fromkeys(BUILDERS, make_peer),
    "flops": make_flop_counter,
    "gemm": make_gemm,
}


def draw_batch(size: Size) -> tuple[Any, Any]:
    import torch

    torch.manual_seed(0)
    return torch.randint(size.vocab, (2, size.windows, size.seq_len)).unbind()


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def available_memory() -> int:
    """Bytes that can be had now without taking any from other processes; where no one tells, all there are."""
    if sys.platform != "linux":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def limit_memory() -> None:
    """A process that wants more than is there shall fail alone."""
    if sys.platform == "linux":
        held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (held + int(MEMORY_SHARE * available_memory()), most))


def refuse_what_does_not_fit(build: Any, size: Size, implementation: str) -> None:
    """Raise MemoryError where a forward pass keeps more for the backward pass than there is: counted, not computed."""
    from torch import Tensor, zeros
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.autograd.graph import saved_tensors_hooks

    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    with FakeTensorMode(), saved_tensors_hooks(keep, lambda tensor: tensor):
        _, loss_of = build(size, implementation)
        tokens = zeros((size.micro, size.seq_len), dtype=int)
        _loss = loss_of(tokens, tokens)  # what it keeps must live, for storages are told apart by their address
    if sum(kept.values()) > (free := available_memory()):
        raise MemoryError(f"{sum(kept.values()) / 1e9:.1f} GB kept for the backward pass, {free / 1e9:.1f} GB free")


def give_memory_back() -> None:
    """Waiting processes hold no more than they must: the next step that does not count takes the memory again."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    main()
