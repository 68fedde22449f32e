"""A base model small enough for unit tests: 2 layers of width 32, random weights, a byte-level BPE tokenizer.

Written as `assistant.embedded_model` writes its own, with SmolLM2's chat template (which inserts a system message of
its own where there is none). Everything is seeded.
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

DEFAULT_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n" + DEFAULT_SYSTEM + "<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"]
_CORPUS = [
    "You are a helpful AI assistant. Answer with one word.",
    "What is the capital of France? The capital of France is Paris.",
    "How do I open an account? Call the front desk and ask for an account.",
    "system user assistant name the red green blue yellow colour number one two three four",
]


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=380,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS * 4, trainer)
    # Added but not special: `skip_special_tokens` would not catch it, and it must not come from a person either.
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False)])
    return tokenizer


def write_tokenizer(directory: Path, template: str = CHAT_TEMPLATE) -> Path:
    """The tokenizer files alone, in a directory that may hold other files already."""
    directory.mkdir(parents=True, exist_ok=True)
    make_tokenizer().save(str(directory / "tokenizer.json"))
    (directory / "chat_template.jinja").write_text(template)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "model_max_length": 2048,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    generation = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    (directory / "generation_config.json").write_text(json.dumps(generation))
    return directory


def write_model(directory: Path, seed: int = 0) -> Path:
    """A whole model directory."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    write_tokenizer(directory)
    config = LlamaConfig(
        vocab_size=make_tokenizer().get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.2,  # weights that matter: with the usual 0.02 every loss is ln(vocabulary)
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(directory)
    return directory


def write_adapter(
    adapters: Path, name: str, base: str = "base hash", rank: int = 4, **weights: object
) -> Path:
    """A published adapter directory, made without torch; `weights` replace or add tensors."""
    import numpy as np
    from safetensors.numpy import save_file

    from assistant.adapter_files import MANIFEST, make_manifest

    directory = adapters / name
    directory.mkdir(parents=True)
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{layer}.lora_A.weight": np.ones((rank, 32), np.float32),
        f"{layer}.lora_B.weight": np.ones((32, rank), np.float32),
    } | weights
    save_file(tensors, str(directory / "adapter_model.safetensors"))
    (directory / "adapter_config.json").write_text(json.dumps({"r": rank, "peft_type": "LORA"}))
    (directory / MANIFEST).write_text(make_manifest(directory, name, base).to_json())
    return directory
