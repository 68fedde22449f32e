"""Chat templates and tokenizers of the kinds that people bring, each small; templates are written after public ones."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CORPUS = [
    "You are a helpful AI assistant. Answer with one word.",
    "What is the capital of France? The capital of France is Paris.",
    "How do I open an account? Call the front desk and ask for an account.",
    "system user assistant model name the red green blue yellow colour number one two three four think INST SYS",
] * 4


@dataclass(frozen=True)
class Template:
    """`end` is the token with which it ends an answer, `eos` the tokenizer's, where that is another."""

    text: str
    controls: tuple[str, ...]
    end: str
    bos: str = ""
    eos: str = ""
    without_system: bool = False  # it refuses instructions, or leaves them out
    parts: bool = False

    def content(self, text: str) -> object:
        return [{"type": "text", "text": text}] if self.parts else text


CHATML = Template(
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "<|im_end|>",
)
GEMMA = Template(
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
    "<end_of_turn>",
    bos="<bos>",
    eos="<eos>",
    without_system=True,
)
MISTRAL = Template(
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set talk = messages[1:] %}"
    "{% else %}{% set talk = messages %}{% endif %}{{ bos_token }}{% for m in talk %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('After the optional system message, conversation roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{% if loop.last and system is defined %}"
    "{{ '[INST] ' + system + '\n\n' + m['content'] + ' [/INST]' }}{% else %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% endif %}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}",
    ("<unk>", "<s>", "</s>"),
    "</s>",
    bos="<s>",
)
LLAMA2 = Template(
    "{% if messages[0]['role'] == 'system' %}{% set talk = messages[1:] %}{% set system = messages[0]['content'] %}"
    "{% else %}{% set talk = messages %}{% set system = false %}{% endif %}{% for m in talk %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}"
    "{% endif %}{% if loop.index0 == 0 and system %}"
    "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + m['content'] %}"
    "{% else %}{% set content = m['content'] %}{% endif %}"
    "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    ("<unk>", "<s>", "</s>"),
    "</s>",
    bos="<s>",
)
PHI3_OLD = Template(
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '<|user|>' + '\n' + m['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n' }}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + '<|end|>' + '\n' }}{% endif %}{% endfor %}",
    ("<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"),
    "<|end|>",
    bos="<s>",
    eos="<|endoftext|>",
    without_system=True,
)
PARTS = Template(
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    CHATML.controls,
    "<|im_end|>",
    parts=True,
)
GENERATION = Template(
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
    "{{ '<|im_start|>assistant\n' + m.content + '<|im_end|>\n' }}{% endgeneration %}{% else %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    CHATML.controls,
    "<|im_end|>",
)
LLAMA3 = Template(
    "{% for m in messages %}{% set content = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' "
    "+ m['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "<|eot_id|>",
    bos="<|begin_of_text|>",
    eos="<|end_of_text|>",
)
QWEN3 = Template(
    "{%- set ns = namespace(last=messages|length - 1) %}{%- for m in messages %}{%- if m.role == 'user' %}"
    "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}{%- for m in messages %}{%- set content = m.content %}"
    "{%- if m.role == 'assistant' %}{%- set thought = '' %}{%- if '</think>' in content %}"
    "{%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{%- if loop.index0 > ns.last and (loop.last or thought) %}"
    "{{- '<|im_start|>assistant\n<think>\n' + thought + '\n</think>\n\n' + content + '<|im_end|>\n' }}{%- else %}"
    "{{- '<|im_start|>assistant\n' + content + '<|im_end|>\n' }}{%- endif %}{%- else %}"
    "{{- '<|im_start|>' + m.role + '\n' + content + '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and not enable_thinking %}"
    "{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}",
    (*CHATML.controls, "<think>", "</think>"),
    "<|im_end|>",
)
R1 = Template(
    "{% set ns = namespace(system='') %}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{% set ns.system = m['content'] %}{% endif %}{% endfor %}{{ bos_token }}{{ ns.system }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}{% elif m['role'] == 'assistant' %}"
    "{% set content = m['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}"
    "{% endif %}{{ '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}",
    (
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜User｜>",
        "<｜Assistant｜>",
        "<think>",
        "</think>",
    ),
    "<｜end▁of▁sentence｜>",
    bos="<｜begin▁of▁sentence｜>",
)
TEMPLATES = {
    "chatml": CHATML,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "llama2": LLAMA2,
    "phi3-old": PHI3_OLD,
    "parts": PARTS,
    "generation": GENERATION,
    "llama3": LLAMA3,
    "qwen3": QWEN3,
    "r1": R1,
}


def byte_level(controls: tuple[str, ...]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[*controls], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def sentencepiece(controls: tuple[str, ...], legacy: bool) -> Tokenizer:
    """As Llama 2's: pieces with ▁, bytes for what is unknown; a space before each text, or before the first alone."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    space = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(space)
    metaspace = pre_tokenizers.Metaspace("▁", prepend_scheme="always" if legacy else "first", split=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", split=True)  # to learn words
    bytes_ = [f"<0x{n:02X}>" for n in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=640, special_tokens=[*controls, *bytes_], show_progress=False)
    tokenizer.train_from_iterator([*CORPUS, "\n"], trainer)
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in controls]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.pre_tokenizer = None
    else:
        tokenizer.pre_tokenizer = metaspace
    return tokenizer


def unigram(controls: tuple[str, ...]) -> Tokenizer:
    """As T5's: the control tokens are pieces too."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace("▁")
    trainer = trainers.UnigramTrainer(
        vocab_size=200,
        special_tokens=[*controls],
        unk_token="<unk>",
        initial_alphabet=[*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ<>/|_[].,?!"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


TOKENIZERS: dict[str, tuple[Callable[[tuple[str, ...]], Tokenizer], str]] = {
    "bytes": (byte_level, "PreTrainedTokenizerFast"),
    "sentencepiece": (lambda controls: sentencepiece(controls, legacy=True), "PreTrainedTokenizerFast"),
    "sentencepiece-first": (
        lambda controls: sentencepiece(controls, legacy=False),
        "PreTrainedTokenizerFast",
    ),
    "llama": (lambda controls: sentencepiece(controls, legacy=True), "LlamaTokenizerFast"),
    "unigram": (unigram, "PreTrainedTokenizerFast"),
}


def write_kind(directory: Path, template: Template, tokenizer: str) -> Path:
    """The tokenizer's files, and a config for transformers where there is none."""
    directory.mkdir(parents=True, exist_ok=True)
    make, tokenizer_class = TOKENIZERS[tokenizer]
    unknown = () if tokenizer == "bytes" or "<unk>" in template.controls else ("<unk>",)
    made = make((*unknown, *template.controls))
    made.save(str(directory / "tokenizer.json"))
    (directory / "chat_template.jinja").write_text(template.text)
    eos = template.eos or template.end
    named = {"bos_token": template.bos, "eos_token": eos, "tokenizer_class": tokenizer_class}
    (directory / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in named.items() if v}))
    if not (directory / "config.json").exists():
        (directory / "config.json").write_text(json.dumps({"model_type": "llama"}))
    ids = [made.token_to_id(token) for token in dict.fromkeys((eos, template.end))]
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    return directory
