"""Tries a model before anybody rates: its tokens, a training step of a small copy, and an adapter in the servers.

The app runs it at its start as `python -m trainer.training.model_check DATA_DIR`, once for each model. What is wrong is
shown on the Training page, and no run begins (`assistant.startup.model_problem`).
"""

import asyncio
import math
import os
import shutil
import sys
import threading
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig

from assistant.adapter_files import fingerprint
from assistant.serving import ServerAddress
from assistant.startup import model_problem, record_model_problem
from assistant.tokenizer import ChatTokenizer, Turn
from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from trainer.training.lora import adapted_layers, mean_loss, small_copy, to_tensors, with_attention
from trainer.training.rows import Item, pack
from trainer.watch import stand_behind

_PATIENCE_S = 600.0  # the servers load the model meanwhile
_FOLDER = "model-check-"
_TALK = [
    Turn("system", "Be brief."),
    Turn("user", "What is 2 + 2?"),
    Turn("assistant", "4"),
    Turn("user", "Sure?"),
]


def find_problem(model_dir: Path) -> str:
    """Why no adapter of this model can be trained here; nothing where one can."""
    config = AutoConfig.from_pretrained(model_dir)
    if quantised := getattr(config, "quantization_config", None):
        how = quantised.get("quant_method", "") if isinstance(quantised, dict) else ""
        return f"its weights are quantised ({how}). Use the same model without quantisation"
    if config.is_encoder_decoder or config.get_text_config() is not config:
        return "it is not a model of text alone, from left to right. Use one of that kind"
    with torch.device("meta"):
        adapted = _adapted(config)
    if not any(".lora_" in name for name, _ in adapted.named_parameters()):
        return "it has no linear layer for an adapter"
    _check_step(_adapted(small_copy(config)))
    return "" if _has_tokens_of_transformers(model_dir) else "its tokens differ from those of transformers"


def _adapted(config: PreTrainedConfig) -> PeftModel:
    model = with_attention(partial(AutoModelForCausalLM.from_config, config))
    return get_peft_model(model, LoraConfig(r=1, target_modules=adapted_layers(model), task_type="CAUSAL_LM"))


def _check_step(model: PeftModel) -> None:
    model.get_base_model().config.packs_examples = False
    loss = mean_loss(model, to_tensors(pack([Item((5, 6, 7), (8, 9)), Item((5, 6), (4,))])))
    torch.autograd.backward(loss)
    if not math.isfinite(loss.item()) or all(p.grad is None for p in model.parameters()):
        raise ValueError(f"a training step has the loss {loss.item()} and changes nothing")


def _has_tokens_of_transformers(model_dir: Path) -> bool:
    tokenizer, theirs = ChatTokenizer.load(model_dir), AutoTokenizer.from_pretrained(model_dir)
    expected = theirs(tokenizer.render(_TALK), add_special_tokens=False, truncation=False, padding=False)
    return tuple(expected["input_ids"]) == tokenizer.encode_chat(_TALK)


async def try_servers(address: ServerAddress, data_dir: Path) -> str:
    """What the servers say to an adapter that changes nothing; they are waited for."""
    with torch.device("meta"):
        adapted = _adapted(AutoConfig.from_pretrained(address.model_dir))
    for left in data_dir.glob(f"{_FOLDER}*"):  # of a check that was ended with its app
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=data_dir, prefix=_FOLDER) as folder:
        zeros = {
            name.replace(".default", ""): torch.zeros(weights.shape, device="cpu")
            for name, weights in adapted.named_parameters()
            if ".lora_" in name
        }
        save_file(zeros, Path(folder) / "adapter_model.safetensors")
        adapted.peft_config["default"].save_pretrained(folder)
        pool = await _connect(address)
        try:
            await pool.load_adapter(Path(folder).name, str(Path(folder).resolve()))
            await pool.unload_adapter(Path(folder).name)
        except VllmError as error:
            return f"vLLM takes no adapter of it: {error}"
        finally:
            await pool.close()
    return ""


async def _connect(address: ServerAddress) -> VllmPool:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return await VllmPool.connect(address.urls, address.key)
        except VllmError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(1.0)


def main(data_dir: Path) -> None:
    """Record what is wrong with the model of this data directory, unless it is known that nothing is."""
    address = ServerAddress.read(data_dir)
    model_dir = Path(address.model_dir)
    base = fingerprint(model_dir)
    if model_problem(data_dir, base) == "":
        return
    try:
        problem = find_problem(model_dir)
    except Exception as error:  # whatever an architecture or a library raises, training would raise it too
        problem = f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
    record_model_problem(data_dir, base, problem or asyncio.run(try_servers(address, data_dir)))


def _end_with_app() -> None:
    """The app holds the other end of standard input, which the kernel closes however the app ends."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_app, daemon=True).start()
    stand_behind()
    main(Path(sys.argv[1]))
