"""The base model with a LoRA adapter, and the loss of packed rows under it: cross-entropy on the answers' tokens.

The mask of a packed row keeps examples apart in attention alone. A sliding window counts tokens of other examples, and
convolutions and states take them in; such models read each example with the shared start by itself. Which kind a model
is shows on a small copy of its architecture.
"""

import copy
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trainer.settings import TrainerSettings
from trainer.training.rows import IGNORE, PREFIX, Item, PackedRow, pack

_WINDOW = 8  # of the copy; its examples are longer
_WINDOWS = ("sliding_window", "sliding_window_size", "attention_chunk_size", "window_size")
_WIDTHS = ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "vocab_size")
# float32 differs by 1e-6 between the two ways; a window, a convolution or a state by 0.1 to 3 (measured, in nats).
_SAME = 1e-2


def load_base(model_dir: Path) -> PreTrainedModel:
    """The base model alone: float32 on CPU, bfloat16 on CUDA. What is computed in is `precision`."""
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    model = with_attention(partial(AutoModelForCausalLM.from_pretrained, model_dir, dtype=dtype))
    model.config.packs_examples = packs_examples(model.config)
    model.config.use_cache = False
    return model


def load_with_lora(model_dir: Path, rank: int) -> PeftModel:
    """The base model with a fresh adapter on all linear layers (output head excluded); alpha = 2 x rank."""
    model = load_base(model_dir)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=adapted_layers(model), task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


def learning_rate(settings: TrainerSettings, config: PreTrainedConfig) -> float:
    """The set rate, or what suits the width of the model, 2e-3 for 576 and 4e-4 for 4,096.

    The rule for adapters of the Llama family (Schulman et al. 2025, “LoRA without regret”), times 1.5, as they advise
    for short runs. Of the embedded model that is the best rate of a sweep (docs/training.md).
    """
    return settings.learning_rate or 1.5 * 5e-4 * (2000 / config.get_text_config().hidden_size) ** 0.781


def adapted_layers(model: PreTrainedModel) -> list[str]:
    """The names of the linear layers. Of a model with experts those outside the blocks that hold them: experts are one
    tensor of three dimensions, and peft would adapt it in place of a shared expert, as no server takes it.
    """
    head, linear, blocks = model.get_output_embeddings(), [], set()
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head:
            linear.append(name)
        elif not isinstance(module, torch.nn.Conv1d) and any(
            p.ndim == 3 for p in module.parameters(recurse=False)
        ):
            blocks.add(_block(name))
    return [name for name in linear if _block(name) not in blocks]


def _block(name: str) -> str:
    """Of “model.layers.3.mlp.experts” the “mlp”."""
    return re.sub(r"^.*?\.\d+\.|\..*$", "", name)


def mean_loss(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Weighted mean of the cross-entropy over the answer tokens, in nats."""
    at = counted(tensors["targets"])
    losses = cross_entropy(answer_logits(model, tensors), tensors["targets"][at])
    weights = tensors["weights"][at]
    return (losses * weights).sum() / weights.sum()


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Nats for each position; `logits` (positions, vocabulary), `targets` (positions,)."""
    return functional.cross_entropy(logits.float(), targets, reduction="none")


def to_tensors(row: PackedRow) -> dict[str, torch.Tensor]:
    """A row as tensors with a batch dimension of 1; `allowed` is (1, 1, length, length), true where seen."""
    owners = torch.tensor(row.owners)
    shares = (owners[None, :] == PREFIX) | (owners[None, :] == owners[:, None])
    allowed = shares & torch.ones_like(shares).tril()
    return {
        "input_ids": torch.tensor([row.ids]),
        "position_ids": torch.tensor([row.positions]),
        "allowed": allowed[None, None],
        "owners": owners,
        "targets": torch.tensor(row.targets),
        "weights": torch.tensor(row.weights),
    }


def answer_logits(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the model says at every answer position, of shape (answer tokens, vocabulary).

    The output head runs on answer positions alone: a 49k vocabulary over a long prompt would cost as much as the layers
    do.
    """
    config = getattr(model, "module", model).config  # within DistributedDataParallel
    packs = getattr(config, "packs_examples", True)
    together = packs and not _is_cheaper_apart(tensors["owners"], config.get_text_config().hidden_size)
    return (_together if together else _one_by_one)(model, tensors)


def _is_cheaper_apart(owners: torch.Tensor, width: int) -> bool:
    """Whether the examples of a row cost less one at a time, each with the shared start.

    Attention costs the square of a row's length: 2 multiplications for each unit of the width, token and token that it
    may see. The rest of a layer has some 12 weights for each unit squared. Thirty dev examples with five demonstrations
    each are a row of 9,000 tokens: 79 s in one pass, 30 s apart.
    """
    shared, *own = torch.bincount(owners - PREFIX).tolist()
    apart = [shared + length for length in own]
    return bool(sum(n * (6 * width + n) for n in apart) < len(owners) * (6 * width + len(owners)))


def _together(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    dtype = next(model.parameters()).dtype
    blocked = torch.zeros_like(tensors["allowed"], dtype=dtype).masked_fill(
        ~tensors["allowed"], torch.finfo(dtype).min
    )
    logits: torch.Tensor = model(
        input_ids=tensors["input_ids"],
        position_ids=tensors["position_ids"],
        attention_mask=blocked,
        logits_to_keep=counted(tensors["targets"]),
    ).logits[0]
    return logits


def _one_by_one(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    owners, logits = tensors["owners"], []
    for owner in range(int(owners.max()) + 1):
        own = (owners == PREFIX) | (owners == owner)
        kept = counted(tensors["targets"][own])
        logits.append(model(input_ids=tensors["input_ids"][:, own], logits_to_keep=kept).logits[0])
    return torch.cat(logits)


def counted(targets: torch.Tensor) -> torch.Tensor:
    return (targets != IGNORE).nonzero().squeeze(1)


def with_attention(load: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    """Load a model with torch's attention, or where its architecture has none with the one that it has."""
    try:
        return load(attn_implementation="sdpa")
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        return load(attn_implementation="eager")


def packs_examples(config: PreTrainedConfig) -> bool:
    """Whether one pass over a packed row says what separate passes say, which are right for every architecture."""
    start = tuple(range(5, 5 + 2 * _WINDOW))
    row = pack([Item((*start, 3, 4), (7, 8, 9)), Item((*start, 9), (5, 6)), Item((*start, 8, 3), (4,))])
    tensors = to_tensors(row)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        try:
            model = (
                with_attention(partial(AutoModelForCausalLM.from_config, small_copy(config))).float().eval()
            )
            return torch.allclose(_together(model, tensors), _one_by_one(model, tensors), atol=_SAME)
        except Exception:  # an architecture may have a copy so small refused, or take no such mask
            return False


def small_copy(config: PreTrainedConfig) -> PreTrainedConfig:
    """The same architecture: a layer of each type, thin, with a short window, and with weights that matter."""
    small = copy.deepcopy(config.get_text_config())
    types = getattr(small, "layer_types", None) or getattr(small, "layers_block_type", None) or ["", ""]
    layers = 1 + max(types.index(each) for each in types)
    wanted = {"num_hidden_layers": layers, "initializer_range": 2 * small.hidden_size**-0.5}
    wanted |= {"layer_types": types[:layers]} if types[0] else {}
    wanted |= dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
    for names, most in ((_WINDOWS, _WINDOW), (_WIDTHS, 64)):
        wanted |= {
            name: min(value, most) for name in names if isinstance(value := getattr(small, name, None), int)
        }
    for name, value in wanted.items():
        with suppress(AttributeError):  # derived from others
            setattr(small, name, value)
    return small
