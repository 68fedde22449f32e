"""Every kind of model that people bring, tiny and random: rendered, trained, published; or refused before that."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from fake_vllm import FakeVllm
from model_kinds import CHATML, GEMMA, LLAMA2, LLAMA3, MISTRAL, QWEN3, R1, Template, write_kind
from retrain_scene import Scene
from training_scene import PROMPT, QUICK, train

from assistant.adapter_files import fingerprint, verify
from assistant.rendering import render, render_answer
from assistant.serving import ServerAddress
from assistant.startup import model_problem, record_model_problem
from assistant.tokenizer import ChatTokenizer
from store.records import Role, RunStatus
from trainer.training.lora import answer_logits, cross_entropy, load_with_lora, to_tensors
from trainer.training.model_check import find_problem, main
from trainer.training.publish import publish
from trainer.training.rows import IGNORE, Item, pack

TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


@dataclass(frozen=True)
class Kind:
    """`packs`: whether its examples may share one pass."""

    config: Callable[..., Any]
    template: Template
    tokenizer: str
    packs: bool
    options: dict[str, Any]


def kind(
    name: str, template: Template, tokenizer: str = "bytes", packs: bool = False, **options: Any
) -> Kind:
    return Kind(getattr(transformers, f"{name}Config"), template, tokenizer, packs, {**TINY, **options})


KINDS = {
    "llama 2": kind("Llama", LLAMA2, "llama", packs=True),
    "llama 3": kind("Llama", LLAMA3, packs=True),
    "window": kind("Mistral", MISTRAL, "sentencepiece", sliding_window=8),
    "windows in some layers": kind(
        "Gemma3Text", GEMMA, head_dim=8, sliding_window=8, layer_types=["sliding_attention", "full_attention"]
    ),
    "windows late": kind("Qwen2", CHATML, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    "thinking": kind("Qwen3", QWEN3, packs=True, head_dim=8),
    "convolution": kind("Lfm2", CHATML, layer_types=["conv", "full_attention"]),
    "linear attention": kind(
        "Qwen3Next",
        QWEN3,
        head_dim=8,
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        shared_expert_intermediate_size=16,
        layer_types=["linear_attention", "full_attention"],
        **EXPERTS,
    ),
    "state space": kind(
        "GraniteMoeHybrid",
        CHATML,
        layer_types=["mamba", "attention"],
        mamba_n_heads=8,
        mamba_d_head=8,
        mamba_d_state=8,
        mamba_n_groups=1,
        num_local_experts=0,
        shared_intermediate_size=48,
    ),
    "experts": kind("Mixtral", MISTRAL, packs=True, num_local_experts=4, num_experts_per_tok=2),
    "small experts": kind("Qwen3Moe", QWEN3, packs=True, head_dim=8, **EXPERTS),
    "latent attention": kind(
        "DeepseekV3",
        R1,
        packs=True,
        num_key_value_heads=4,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        n_shared_experts=1,
        moe_intermediate_size=16,
        first_k_dense_replace=1,
    ),
    "no torch attention": kind("Bloom", CHATML, n_head=4, n_layer=2),
}


def write(kind: Kind, directory: Path) -> Path:
    write_kind(directory, kind.template, kind.tokenizer)
    known = len(transformers.AutoTokenizer.from_pretrained(directory))
    (directory / "config.json").unlink()
    config = kind.config(vocab_size=known, bos_token_id=None, eos_token_id=None, **kind.options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    return write_kind(directory, kind.template, kind.tokenizer)


@pytest.fixture(scope="module", params=KINDS)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Kind, Path, ChatTokenizer]:
    torch.set_num_threads(1)
    directory = write(KINDS[request.param], tmp_path_factory.mktemp("model"))
    return KINDS[request.param], directory, ChatTokenizer.load(directory)


Model = tuple[Kind, Path, ChatTokenizer]


def test_the_losses_of_a_row_are_those_of_the_plain_model(model: Model) -> None:
    kind, directory, tokenizer = model
    adapted = load_with_lora(directory, 4).eval()
    assert adapted.config.packs_examples is kind.packs
    items = [
        Item(render(tokenizer, PROMPT, ((Role.USER, question),)).ids, render_answer(tokenizer, answer))
        for question, answer in (
            ("one two three", "red"),
            ("How do I open?", "green and blue"),
            ("a", "Paris"),
        )
    ]
    tensors = to_tensors(pack(items))
    expected = []
    with torch.no_grad():
        found = cross_entropy(
            answer_logits(adapted, tensors), tensors["targets"][tensors["targets"] != IGNORE]
        )
        for item in items:
            plain = adapted(torch.tensor([item.request + item.answer])).logits[0].log_softmax(-1)
            start = len(item.request) - 1
            expected += [-float(plain[start + n, token]) for n, token in enumerate(item.answer)]
    assert found.tolist() == pytest.approx(expected, abs=1e-3)


def test_an_adapter_is_trained_and_published(model: Model, tmp_path: Path) -> None:
    _, directory, tokenizer = model
    assert find_problem(directory) == ""
    trained = train(directory, tokenizer, tmp_path / "work", replace(QUICK, epochs=1))
    assert trained.dev_loss < trained.first_dev_loss
    base = fingerprint(directory)
    publish(trained.model, tmp_path, "bank-v0001", base)
    assert verify(tmp_path / "bank-v0001", base, QUICK.rank).rank == QUICK.rank


CHANGES: dict[str, Callable[[Path], None]] = {
    "weights": lambda d: change_weights(d),
    "template": lambda d: (d / "chat_template.jinja").write_text(CHATML.text + " "),
    "end token": lambda d: (d / "generation_config.json").write_text(json.dumps({"eos_token_id": 1})),
    "tokenizer": lambda d: (d / "tokenizer_config.json").write_text("{}"),
    "configuration": lambda d: (d / "config.json").write_text("{}"),
    "a .bin": lambda d: torch.save({"w": torch.ones(9)}, d / "pytorch_model.bin"),
}


def change_weights(directory: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = directory / "model.safetensors"
    tensors = load_file(path)
    last = sorted(tensors)[-1]
    save_file(tensors | {last: tensors[last] + 1}, path, {"format": "pt"})


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_model_in_the_same_place_is_another(tmp_path: Path, what: str) -> None:
    directory = write(KINDS["llama 3"], tmp_path)
    before = fingerprint(directory)
    assert fingerprint(directory) == before
    CHANGES[what](directory)
    assert fingerprint(directory) != before


def test_other_weights_in_a_bin_file_are_another_model(tmp_path: Path) -> None:
    prints = []
    for value in (1.0, 2.0):
        torch.save(
            {"a": torch.zeros(10_000), "b": torch.full((10_000,), value)}, tmp_path / "pytorch_model.bin"
        )
        prints.append(fingerprint(tmp_path))
    assert prints[0] != prints[1]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "quantised": (
        {"model_type": "llama", "quantization_config": {"quant_method": "gptq"}},
        "quantised .gptq.",
    ),
    "pictures": ({"model_type": "gemma3"}, "text alone"),
    "pictures beside a text model": ({"model_type": "llava"}, "text alone"),
    "encoder and decoder": ({"model_type": "t5"}, "text alone"),
    "unknown": ({"model_type": "never-heard-of"}, "does not recognize this architecture"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_trained_is_said_before_anybody_rates(
    tmp_path: Path, vllm: FakeVllm, what: str
) -> None:
    config, said = REFUSED[what]
    (tmp_path / "config.json").write_text(json.dumps(config))
    checked(write_kind(tmp_path, CHATML, "bytes"), vllm)
    assert re.search(said, model_problem(tmp_path, fingerprint(tmp_path)) or "")


def checked(directory: Path, vllm: FakeVllm) -> None:
    """As the app does beside its start, with the model's directory for its data."""
    ServerAddress((vllm.url,), None, str(directory), 1024, "unused", 256).write(directory)
    main(directory)


def test_a_good_model_is_tried_once_and_in_the_server(tmp_path: Path, vllm: FakeVllm) -> None:
    directory = write(KINDS["llama 3"], tmp_path)
    for _ in range(2):
        checked(directory, vllm)
    assert model_problem(directory, fingerprint(directory)) == ""
    assert len(vllm.asked("/v1/load_lora_adapter")) == 1 and not vllm.adapters
    assert model_problem(directory, "another model") is None


def test_what_the_server_says_against_an_adapter_is_the_problem(tmp_path: Path, vllm: FakeVllm) -> None:
    directory = write(KINDS["llama 3"], tmp_path)
    vllm.max_loras = 0
    checked(directory, vllm)
    assert "vLLM takes no adapter of it" in (model_problem(directory, fingerprint(directory)) or "")


def test_tokens_that_differ_from_those_of_transformers_are_a_problem(tmp_path: Path) -> None:
    directory = write(KINDS["llama 2"], tmp_path)
    path = directory / "tokenizer_config.json"
    # A class that transformers builds anew, whatever the file of the tokenizer says.
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": "GemmaTokenizer"}))
    assert "differ from those of transformers" in find_problem(directory)


def test_no_run_begins_with_a_model_that_cannot_be_trained(scene: Scene) -> None:
    record_model_problem(scene.context.data_dir, scene.context.base, "its weights are quantised")
    run = scene.run()
    assert run.status is RunStatus.FAILED and "cannot be trained: its weights are quantised" in run.message
