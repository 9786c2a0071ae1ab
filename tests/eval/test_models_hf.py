"""Tiny randomly initialised models of four families, saved to disk and read back, against plain transformers."""

import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import PIL.Image
import pytest

from kosmos_eval.errors import ModelError, UnknownName
from kosmos_eval.models.hf.batching import Budget, budget
from kosmos_eval.models.hf.images import requires_pixels
from kosmos_eval.models.hf.loading import check_config
from kosmos_eval.models.hf.model import live, load
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Failure, Generate, LogLikelihood, Sampling

CORPUS = [
    "Question: what is this? Answer: yes Answer: no Answer: C Answer: Cat",
    "An image of a red cat, a blue dog. The photo of the piggy bank, the pig.",
]
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.4,
}
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
NAMES = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
CHAT = "{{ bos_token }}{% for m in messages %}{{ m['role'] }}:{% for c in m['content'] %}" + (
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\nassistant:\n' }}{% endif %}"
)


def tokenizer(specials, *, merging=False, template=None, **named):
    """A byte-level BPE; a merging one has no word boundaries, so that tokens such as ``: C`` arise."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not merging)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([f"{letter}: C" for letter in "rstxyz"] if merging else CORPUS * 4, trainer)
    if template is not None:
        known = [(token, made.token_to_id(token)) for token in specials]
        made.post_processor = processors.TemplateProcessing(single=template, special_tokens=known)
    return PreTrainedTokenizerFast(tokenizer_object=made, **named)


def save_llava(folder, *, merging=False, chat=None):
    import torch
    from transformers import CLIPImageProcessor, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    specials = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    words = tokenizer(specials, merging=merging, template="<s> $A", bos_token="<s>", **NAMES)
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "image_size": 28, "patch_size": 14, **VISION},
        text_config=LlamaConfig(vocab_size=len(words), bos_token_id=1, eos_token_id=2, pad_token_id=3, **LLAMA),
        image_token_index=4,
        vision_feature_layer=-1,
    )
    torch.manual_seed(0)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat,
    ).save_pretrained(folder)


def save_kosmos2(folder, *, positions=256):
    import torch
    from transformers import CLIPImageProcessor, Kosmos2Config, Kosmos2ForConditionalGeneration, Kosmos2Processor

    words = tokenizer(["<s>", "<pad>", "</s>", "<unk>"], template="<s> $A </s>", bos_token="<s>", **NAMES)
    pictures = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = Kosmos2Processor(pictures, words, num_patch_index_tokens=4)
    text = {"embed_dim": 32, "layers": 2, "ffn_dim": 48, "attention_heads": 4, "max_position_embeddings": positions}
    config = Kosmos2Config(
        text_config={"vocab_size": len(processor.tokenizer), "init_std": 0.4, **text},
        vision_config={"image_size": 28, "patch_size": 14, **VISION},
        latent_query_num=4,
    )
    torch.manual_seed(0)
    Kosmos2ForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)


def save_idefics3(folder):
    import torch
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
    )

    tiles = [f"<row_{row}_col_{col}>" for row, col in itertools.product(range(1, 7), range(1, 7))]
    specials = ["<unk>", "<s>", "</s>", "<pad>", "<image>", "<fake_token_around_image>", "<global-img>", *tiles]
    words = tokenizer([*specials, "<end_of_utterance>"], **NAMES)
    text = {"model_type": "llama", "vocab_size": len(words), "pad_token_id": 3, "bos_token_id": 1, "eos_token_id": 2}
    config = Idefics3Config(
        text_config=text | LLAMA,
        vision_config={"image_size": 32, "patch_size": 8, **VISION},
        image_token_id=4,
        scale_factor=2,
    )
    torch.manual_seed(0)
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    pictures = Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    Idefics3Processor(pictures, words, image_seq_len=4).save_pretrained(folder)


def save_qwen2vl(folder):
    import torch
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    specials = ["<unk>", "</s>", "<pad>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    words = tokenizer(specials, **NAMES)
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(words),
            "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
            "bos_token_id": None,
            "eos_token_id": 1,
            "pad_token_id": 2,
            **LLAMA,
        },
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2, "patch_size": 8},
        vision_start_token_id=3,
        vision_end_token_id=4,
        image_token_id=5,
        video_token_id=6,
    )
    torch.manual_seed(0)
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    sizes = {"patch_size": 8, "size": {"shortest_edge": 256, "longest_edge": 4096}}
    template = (
        "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}"
        "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )
    Qwen2VLProcessor(
        Qwen2VLImageProcessor(**sizes), words, Qwen2VLVideoProcessor(**sizes), chat_template=template
    ).save_pretrained(folder)


def save_text_only(folder):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer(["<unk>", "<s>", "</s>", "<pad>"], template="<s> $A", bos_token="<s>", **NAMES)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(words), bos_token_id=1, eos_token_id=2, pad_token_id=3, **LLAMA)
    ).save_pretrained(folder)
    words.save_pretrained(folder)


SAVED = {
    "llava": save_llava,
    "kosmos2": save_kosmos2,
    "idefics3": save_idefics3,
    "qwen2vl": save_qwen2vl,
    "text": save_text_only,
}


FAMILIES = ["llava", "kosmos2", "idefics3", "qwen2vl"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny models are fastest on one thread, above all beside other tests."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder for each kind of model, saved when first asked for."""
    root = tmp_path_factory.mktemp("tiny")

    def saved(kind, **options):
        path = root / "-".join([kind, *map(str, options)])
        if not path.exists():
            SAVED[kind](path, **options)
        return path

    return saved


@pytest.fixture(scope="session")
def model(folder):
    """A loaded model of each kind, prompts fed as they are."""
    loaded = {}

    def of(kind):
        if kind not in loaded:
            loaded[kind] = load(str(folder(kind)), device="cpu", chat_template="none")
        return loaded[kind]

    return of


def picture(seed, size=(40, 30)):
    import numpy

    return Image.drawn(PIL.Image.fromarray(numpy.random.default_rng(seed).integers(0, 255, (*size, 3), "uint8")))


RED, BLUE = picture(1), picture(2, (20, 60))
SHOT = Prompt(RED, " a red cat. ", BLUE, " The photo of the")
ASKED = [SHOT, Prompt(BLUE, "An image of"), Prompt("Question: what is", RED), Prompt("Answer:")]
NAMES_OF_THINGS = (" cat", " dog, a pig", " piggy bank", " pig", "?")


def answered(model, *requests):
    outputs = dict(model.answers(requests))
    assert sorted(outputs) == list(range(len(requests)))
    return [outputs[i] for i in range(len(requests))]


def plain(model, prompt, string):
    """One whole forward pass for one continuation, in transformers alone: log-probability, tokens, greedy."""
    import torch

    encoded, (continuation,) = model.encoder.encode_continuations(prompt, [string], Image.pixels, end=None)
    ids = [*encoded.ids, *continuation.ids]
    inputs = {**encoded.with_ids(ids).tokenwise, **encoded.pixels}
    network = model.engine.network if prompt.images else model.engine.text_model
    with torch.inference_mode():
        scores = network(input_ids=torch.tensor([ids]), **inputs).logits[0].log_softmax(-1)
    said = range(len(encoded.ids) + continuation.start, len(ids))
    total = sum(float(scores[i - 1, ids[i]]) for i in said)
    return total, len(said), all(int(scores[i - 1].argmax()) == ids[i] for i in said)


@pytest.mark.parametrize("family", [*FAMILIES, "text"])
def test_continuations_in_a_batch_score_as_in_one_forward_pass_each(model, family):
    prompts = ASKED if family != "text" else ASKED[-1:]
    outputs = answered(model(family), *(LogLikelihood(prompt, NAMES_OF_THINGS) for prompt in prompts))
    for prompt, output in zip(prompts, outputs, strict=True):
        for i, string in enumerate(NAMES_OF_THINGS):
            logprob, tokens, greedy = plain(model(family), prompt, string)
            assert output.logprobs[i] == pytest.approx(logprob, abs=1e-4)
            assert (output.tokens[i], output.greedy[i]) == (tokens, greedy)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_is_what_transformers_generates_from_the_prompt_alone(model, family):
    import torch

    tiny = model(family)
    outputs = answered(tiny, *(Generate(prompt, 8) for prompt in ASKED))
    for prompt, output in zip(ASKED, outputs, strict=True):
        encoded = tiny.encoder.encode(prompt, Image.pixels)
        network = tiny.engine.network if prompt.images else tiny.engine.text_model
        ids = torch.tensor([encoded.ids])
        made = network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=8,
            do_sample=False,
            **encoded.tokenwise,
            **encoded.pixels,
        )
        assert output.text == tiny.encoder.renderer.decode(made[0, len(encoded.ids) :].tolist())


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("beams", [2, 4, 5])
@pytest.mark.parametrize("family", ["llava", "text"])
def test_beams_are_those_of_transformers(model, family, beams, penalty, early):
    import torch

    tiny = model(family)
    texts = [Prompt(word) for word in ("An image of", "Answer:", " red", "The photo of the")]
    prompts = [Prompt(BLUE) + text for text in texts] if family == "llava" else texts
    requests = [Generate(p, 12, beams=beams, length_penalty=penalty, early_stopping=early) for p in prompts]
    for prompt, output in zip(prompts, answered(tiny, *requests), strict=True):
        encoded = tiny.encoder.encode(prompt, Image.pixels)
        made = tiny.engine.network.generate(
            input_ids=torch.tensor([encoded.ids]),
            attention_mask=torch.ones(1, len(encoded.ids), dtype=torch.long),
            max_new_tokens=12,
            num_beams=beams,
            do_sample=False,
            length_penalty=penalty,
            early_stopping=early,
            **encoded.pixels,
        )
        ids = made[0, len(encoded.ids) :].tolist()
        assert output.text == tiny.encoder.renderer.decode(ids)
        assert output.tokens == len([token for token in ids if token != tiny.encoder.renderer.tokenizer.pad_token_id])


def test_early_stopping_decides_some_texts(model):
    """A text that is likely to end ends sooner where K finished ones are enough."""
    import torch

    tiny = dataclasses.replace(model("text"), ends=tuple(range(2, 40)))
    words = ("An image of", "Answer:", " red", "The photo of the", "Question", "what", "is", "this", "a", "pig")
    found = [
        answered(tiny, *(Generate(Prompt(w), 12, beams=3, length_penalty=2.0, early_stopping=early) for w in words))
        for early in (True, False)
    ]
    assert found[0] != found[1]
    for word, *outputs in zip(words, *found, strict=True):
        ids = torch.tensor([tiny.encoder.encode(Prompt(word), Image.pixels).ids])
        for output, early in zip(outputs, (True, False), strict=True):
            made = tiny.engine.network.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=12,
                num_beams=3,
                do_sample=False,
                length_penalty=2.0,
                early_stopping=early,
                eos_token_id=list(tiny.ends),
            )
            new = [token for token in made[0, ids.shape[1] :].tolist() if token != 3]
            assert output.text == tiny.encoder.renderer.decode(new[: -1 if new[-1] in tiny.ends else None])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_batch_does_not_change_an_answer(model, family):
    requests = [Generate(prompt, 6, beams=beams) for prompt in ASKED for beams in (1, 3)]
    together = answered(model(family), *requests)
    alone = [answered(model(family), request)[0] for request in requests]
    assert [output.text for output in together] == [output.text for output in alone]
    assert [output.logprob for output in together] == pytest.approx([output.logprob for output in alone], abs=1e-4)


def test_a_batch_is_padded_on_the_left(model):
    encoder, engine = model("llava").encoder, model("llava").engine
    state = engine.read([encoder.encode(Prompt(text), Image.pixels) for text in ("Answer:", "An image of a red cat")])
    short = int(state.mask[0].sum())
    assert 0 < short < state.mask.shape[1]
    assert state.mask[0].tolist() == [0] * (state.mask.shape[1] - short) + [1] * short
    assert state.position.tolist() == state.mask.sum(1).tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_image_is_seen_in_its_own_place(model, family):
    swapped = Prompt(BLUE, " a red cat. ", RED, " The photo of the")
    moved = Prompt(" a red cat. ", RED, BLUE, " The photo of the")
    scores = [
        output.logprobs[0]
        for output in answered(model(family), *(LogLikelihood(p, (" cat",)) for p in (SHOT, swapped, moved)))
    ]
    assert min(abs(a - b) for a, b in itertools.combinations(scores, 2)) > 1e-3


def test_llava_has_its_image_tokens_where_the_images_are(model):
    tiny = model("llava")
    words = tiny.encoder.renderer.tokenizer
    ids = tiny.encoder.encode(Prompt("no", RED, "yes", BLUE), Image.pixels).ids
    assert words.convert_ids_to_tokens(list(ids)) == ["<s>", "no", *["<image>"] * 4, "yes", *["<image>"] * 4]


def test_kosmos2_has_places_for_the_vectors_of_each_image(model):
    tiny = model("kosmos2")
    encoded = tiny.encoder.encode(Prompt("no", RED, "yes", BLUE), Image.pixels)
    opens, closes = tiny.encoder.renderer.tokenizer.convert_tokens_to_ids(["<image>", "</image>"])
    assert encoded.tokenwise["image_embeds_position_mask"].tolist() == [[0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0]]
    assert [i for i, token in enumerate(encoded.ids) if token == opens] == [2, 9]
    assert [i for i, token in enumerate(encoded.ids) if token == closes] == [7, 14]
    assert encoded.pixels["pixel_values"].shape[0] == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_image_tokens_are_counted_after_expansion(model, family):
    encoder = model(family).encoder
    for prompt in ASKED:
        assert encoder.length(prompt) == len(encoder.encode(prompt, Image.pixels).ids)
    assert encoder.length(Prompt(RED, "a")) >= encoder.length(Prompt("a")) + 4


@pytest.mark.parametrize("family", ["llava", "kosmos2"])
def test_the_beginning_is_marked_once(model, family):
    for prompt in ASKED:
        ids = model(family).encoder.encode(prompt, Image.pixels).ids
        assert ids[0] == model(family).encoder.renderer.tokenizer.bos_token_id
        assert ids.count(ids[0]) == 1


@pytest.mark.parametrize("family", ["llava", "kosmos2"])
def test_no_end_of_text_stands_after_a_prompt(model, family):
    for prompt in ASKED:
        assert (
            model(family).encoder.renderer.tokenizer.eos_token_id
            not in model(family).encoder.encode(prompt, Image.pixels).ids
        )


def test_a_tokenizer_without_beginning_gets_none(model):
    encoder = model("qwen2vl").encoder
    assert encoder.encode(Prompt("yes"), Image.pixels).ids == tuple(encoder.renderer.tokenizer("yes").input_ids)


def test_a_chat_template_that_writes_the_beginning_does_not_double_it(folder):
    tiny = load(str(folder("llava", chat=CHAT)), device="cpu")
    assert tiny.encoder.renderer.text(SHOT) == "<s>user:<image> a red cat. <image> The photo of the\nassistant:\n"
    ids = tiny.encoder.encode(SHOT, Image.pixels).ids
    assert ids.count(tiny.encoder.renderer.tokenizer.bos_token_id) == 1


def test_after_a_line_break_of_the_chat_template_a_continuation_has_no_leading_space(folder):
    tiny = load(str(folder("llava", chat=CHAT)), device="cpu")
    spaced, bare = answered(tiny, LogLikelihood(SHOT, (" cat", " dog")), LogLikelihood(SHOT, ("cat", "dog")))
    assert spaced == bare


def test_chat_template_none_feeds_the_prompt_as_it_is(folder):
    tiny = load(str(folder("llava", chat=CHAT)), device="cpu", chat_template="none")
    assert tiny.encoder.renderer.text(SHOT) == SHOT.text("<image>")


def test_a_token_that_spans_the_join_belongs_to_the_continuation(folder):
    tiny = load(str(folder("llava", merging=True)), device="cpu")
    words = tiny.encoder.renderer.tokenizer
    joint = words.tokenize("Answer: C")
    assert joint[-1][-3:] == ":\u0120C"  # the premise: one token holds the join
    prefix, (continuation,) = tiny.encoder.encode_continuations(Prompt(RED, "Answer:"), [" C"], Image.pixels, end=None)
    whole = [*prefix.ids, *continuation.ids]
    assert words.convert_ids_to_tokens(whole[len(prefix.ids) + continuation.start :]) == [joint[-1]]
    assert words.decode(whole).endswith("Answer: C")
    (output,) = answered(tiny, LogLikelihood(Prompt(RED, "Answer:"), (" C", " Cat", " no")))
    assert min(output.tokens) >= 1
    for i, string in enumerate((" C", " Cat", " no")):
        assert output.logprobs[i] == pytest.approx(plain(tiny, Prompt(RED, "Answer:"), string)[0], abs=1e-4)


def test_a_space_that_ends_the_prompt_joins_the_next_word(model):
    words = model("llava").encoder.renderer.tokenizer
    prefix, (continuation,) = model("llava").encoder.encode_continuations(
        Prompt("Answer: "), ["yes"], Image.pixels, end=None
    )
    assert words.convert_ids_to_tokens([*prefix.ids, *continuation.ids])[-1] == "\u0120yes"
    assert len(continuation.ids) - continuation.start == 1


def test_the_greedy_flag_marks_the_most_probable_next_token(model):
    tiny = model("llava")
    letters = tuple(map(chr, range(33, 127)))
    prompts = [
        Prompt(RED, f"The photo of the {name}") for name in ("cat", "dog", "pig", "bank", "red", "blue", "no", "yes")
    ]
    outputs = answered(tiny, *(LogLikelihood(prompt, letters) for prompt in prompts))
    flagged = [
        (p, s)
        for p, o in zip(prompts, outputs, strict=True)
        for s, greedy in zip(letters, o.greedy, strict=True)
        if greedy
    ]
    assert flagged
    for prompt, string in flagged:
        assert plain(tiny, prompt, string)[2]
        assert answered(tiny, Generate(prompt, 1))[0].text == string


def test_the_end_of_text_belongs_to_a_terminated_score(model):
    open_, closed = answered(
        model("llava"), LogLikelihood(SHOT, (" pig",)), LogLikelihood(SHOT, (" pig",), terminated=True)
    )
    assert closed.tokens[0] == open_.tokens[0] + 1
    assert closed.logprobs[0] < open_.logprobs[0]


def test_a_choice_is_found_by_its_terminated_probability(model):
    choices = (" pig", " piggy bank", " cat", " dog")
    prompts = [Prompt(picture(seed), f" {word}") for seed in range(4) for word in ("red", "The", "no", "Answer:")]
    found = answered(model("llava"), *(Generate(p, 1, beams=9, length_penalty=0.0, choices=choices) for p in prompts))
    scored = answered(model("llava"), *(LogLikelihood(p, choices, terminated=True) for p in prompts))
    assert [f.text for f in found] == [choices[s.logprobs.index(max(s.logprobs))] for s in scored]
    assert [f.logprob for f in found] == pytest.approx([max(s.logprobs) for s in scored], abs=1e-4)


def test_a_choice_that_begins_another_can_be_chosen_and_so_can_the_other(model):
    prompts = [Prompt(picture(seed), f" {word}") for seed in range(4) for word in ("red", "The", "no", "Answer:")]
    found = answered(model("kosmos2"), *(Generate(p, choices=(" pig", " piggy bank")) for p in prompts))
    assert {output.text for output in found} <= {" pig", " piggy bank"}
    either = answered(model("llava"), *(Generate(p, choices=(" pig", " piggy bank")) for p in prompts))
    assert {output.text for output in either + found} == {" pig", " piggy bank"}


def test_a_text_ends_before_its_stop_string(model):
    (free,) = answered(model("llava"), Generate(SHOT, 12))
    stop = next(letter for letter in free.text[1:] if letter.isascii() and letter.isprintable())
    (cut,) = answered(model("llava"), Generate(SHOT, 12, stop=("never", stop)))
    assert cut.text == free.text[: free.text.index(stop)]
    assert (cut.finished, free.finished) == (True, False)
    assert cut.tokens < free.tokens == 12


def test_a_bad_image_fails_its_own_requests_only(model):
    bad = Prompt(Image(b"no image"), "An image of")
    outputs = answered(model("llava"), Generate(bad, 2), Generate(SHOT, 2), LogLikelihood(bad, (" cat",)))
    assert all("cannot be decoded" in output.reason for output in (outputs[0], outputs[2]))
    assert isinstance(outputs[1], Completion)
    assert model("llava").fits(Generate(bad))


def test_each_image_is_decoded_once_and_encoded_once_for_a_prompt(model, monkeypatch):
    decoded, encoded = [], []
    pixels = Image.pixels
    monkeypatch.setattr(Image, "pixels", lambda image, **options: decoded.append(image) or pixels(image, **options))
    hook = model("llava").engine.network.model.vision_tower.register_forward_hook(
        lambda *passed: encoded.append(len(passed[1][0]) if passed[1] else 0)
    )
    answered(model("llava"), LogLikelihood(SHOT, NAMES_OF_THINGS), Generate(SHOT, 4))
    hook.remove()
    assert len(decoded) == 2
    assert len(encoded) == 2


@dataclasses.dataclass
class Small:
    """A network with memory for so many rows."""

    network: object
    rows: int

    def forward(self, **inputs):
        import torch

        if len(inputs["input_ids"]) > self.rows:
            raise torch.OutOfMemoryError
        return self.network(**inputs)

    __call__ = forward

    def __getattr__(self, name):
        return getattr(self.network, name)


def cramped(model, rows):
    small = Small(model.engine.network, rows)
    return dataclasses.replace(model, engine=dataclasses.replace(model.engine, network=small, text_model=small))


def test_where_memory_runs_out_the_batch_is_halved(model):
    requests = [Generate(prompt, 4) for prompt in ASKED * 2] + [LogLikelihood(SHOT, NAMES_OF_THINGS)]
    tight = cramped(model("llava"), 3)
    outputs = answered(tight, *requests)
    assert [o.text for o in outputs[:-1]] == [o.text for o in answered(model("llava"), *requests)[:-1]]
    assert len(outputs[-1].logprobs) == len(NAMES_OF_THINGS)
    assert tight.budget.rows == 2


def test_a_search_begins_anew_where_memory_runs_out_on_its_way(model):
    requests = [Generate(prompt, 6, beams=3) for prompt in ASKED]
    tight = cramped(dataclasses.replace(model("llava"), budget=Budget(12)), 4)  # two prompts are read, their beams not
    assert [o.text for o in answered(tight, *requests)] == [o.text for o in answered(model("llava"), *requests)]
    assert tight.budget.rows == 3


def test_batches_are_cut_by_tokens_and_answers_stay_the_same(model, monkeypatch):
    tiny = dataclasses.replace(model("llava"), budget=Budget(128, 40))
    texts = [Prompt("An image of" + " a red cat" * count) for count in (1, 2, 3, 4)]
    requests = [*(Generate(prompt, 4) for prompt in [*ASKED, *texts]), LogLikelihood(SHOT, NAMES_OF_THINGS)]
    batches = counted(monkeypatch, tiny.engine)
    found = answered(tiny, *requests)
    assert max(len(batch) for batch in batches) > 1
    assert all(len(batch) * max(batch) <= 40 for batch in batches)
    for one, other in zip(found, answered(model("llava"), *requests), strict=True):
        assert vars(one).get("text") == vars(other).get("text")
        assert vars(one).get("logprobs") == pytest.approx(vars(other).get("logprobs"), abs=1e-4)


def test_a_budget_of_tokens_also_bounds_what_lies_in_the_cache_and_is_halved_as_a_whole():
    tokens = Budget(128, 100)
    assert tokens.allows(10, new=100, kept=1600)
    assert not tokens.allows(10, new=101, kept=0) and not tokens.allows(10, new=1, kept=1601)
    assert (tokens.width(5, kept=10), tokens.width(5, kept=400), tokens.width(200, kept=9999)) == (20, 4, 1)
    assert tokens.halved() == Budget(64, 50) and Budget(1, 1).halved() == Budget(1, 1)
    assert Budget(8).allows(8, new=10**6, kept=10**6) and Budget(8).width(10**6, kept=0) == 8


def test_the_budget_is_what_options_name(folder):
    path = str(folder("text"))
    assert load(path, device="cpu").budget == Budget(8)
    assert load(path, device="cpu", batch_tokens="auto").budget == Budget(128, 2048)
    assert load(path, device="cpu", batch_size=3, batch_tokens=64).budget == Budget(3, 64)
    for wrong in (0, "many", True):
        with pytest.raises(ModelError, match=f"batch_tokens is {wrong!r}; expected auto or a positive whole number"):
            load(path, device="cpu", batch_tokens=wrong)


def test_on_a_gpu_a_quarter_of_the_free_memory_is_for_the_cache(monkeypatch):
    import torch

    def network(**config):
        weight = SimpleNamespace(
            device=SimpleNamespace(type="cuda"), element_size=lambda: 2, is_floating_point=lambda: True
        )
        text = SimpleNamespace(num_hidden_layers=32, num_attention_heads=32, hidden_size=4096, **config)
        return SimpleNamespace(parameters=lambda: iter([weight]), config=SimpleNamespace(get_text_config=lambda: text))

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (120 << 30, 140 << 30))
    # 32 layers of keys and values of 4,096 numbers of two bytes: half a MiB a token, of 30 GiB a 16th is read at once
    assert budget(network(), batch_size=None, batch_tokens="auto").tokens == 3840
    grouped = network(num_key_value_heads=8, head_dim=128)
    assert budget(grouped, batch_size=None, batch_tokens="auto").tokens == 15360


def test_a_request_too_large_for_memory_fails_by_itself(model):
    (output,) = answered(cramped(model("llava"), 0), Generate(SHOT, 4))
    assert output == Failure("cpu is out of memory with one prompt of 18 tokens")


def test_a_prompt_fits_by_its_expanded_length(model):
    room = 512 - model("llava").encoder.length(SHOT)
    assert model("llava").fits(Generate(SHOT, room))
    assert not model("llava").fits(Generate(SHOT, room + 1))
    many = Prompt(*[RED, "a"] * 110)
    assert len(model("llava").encoder.renderer.tokenize(many.text("<image>")).ids) < 256
    assert not model("llava").fits(LogLikelihood(many, (" cat",)))
    assert "fewer shots" in answered(model("llava"), Generate(many, 5))[0].reason


@pytest.mark.parametrize(
    ("kind", "request_", "reason"),
    [
        ("text", Generate(SHOT), "the prompt has images, but the model reads text alone"),
        ("llava", Generate(Prompt("an <image> tag")), "the prompt's text holds '<image>'"),
        ("kosmos2", Generate(Prompt("an <image> tag")), "the prompt's text holds '<image>'"),
        ("qwen2vl", Generate(Prompt(RED, "<|image_pad|>")), "the prompt's text holds '<|image_pad|>'"),
        ("llava", LogLikelihood(SHOT, (" cat", "")), "the continuation '' has no tokens"),
        ("llava", Generate(SHOT, choices=()), "no strings to choose from"),
    ],
)
def test_what_a_model_cannot_be_asked_fails_with_the_reason(model, kind, request_, reason):
    (output,) = answered(model(kind), request_)
    assert reason in output.reason
    assert model(kind).fits(request_)


def test_the_empty_prompt_follows_the_beginning_mark(model):
    for kind in ("text", "qwen2vl"):
        (output,) = answered(model(kind), LogLikelihood(Prompt(), (" cat", "dog")))
        assert min(output.tokens) >= 1
        assert answered(model(kind), Generate(Prompt(), 3))[0].tokens == 3


def test_the_fingerprint_is_of_the_content(folder, tmp_path):
    here, there = folder("text"), tmp_path / "copy"
    shutil.copytree(here, there)
    first, second = load(str(here), device="cpu"), load(str(there), device="cpu")
    assert first.fingerprint == second.fingerprint
    assert (first.name, second.name) == ("hf:text", "hf:copy")
    assert load(str(there), device="cpu", chat_template="none").fingerprint != first.fingerprint
    weights = there / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert load(str(there), device="cpu").fingerprint != first.fingerprint


def test_what_is_no_safe_model_folder_is_refused(folder, tmp_path):
    with pytest.raises(ModelError, match=r"there is no model folder .*nowhere"):
        load(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        load(str(tmp_path))
    shutil.copy(folder("text") / "config.json", tmp_path)
    with pytest.raises(ModelError, match="holds no weights"):
        load(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(ModelError, match=r"holds weights only as pytorch_model.bin; only \*.safetensors is loaded"):
        load(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot load"):
        load(str(tmp_path), device="cpu")


def changed(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def no_processor(folder):
    (folder / "processor_config.json").unlink()


def own_code(folder):
    changed(folder / "config.json", model_type="novel", auto_map={"AutoConfig": "novel.Config"})
    (folder / "novel.py").write_text("raise SystemExit('run')")


def own_tokenizer(folder):
    config = {"tokenizer_class": "Novel", "auto_map": {"AutoTokenizer": ["novel.Novel", None]}}
    changed(folder / "tokenizer_config.json", **config)
    (folder / "novel.py").write_text("raise SystemExit('run')")


def another_task(folder):
    changed(folder / "config.json", model_type="t5", architectures=["T5ForConditionalGeneration"])


def adapter(folder):
    (folder / "adapter_config.json").write_text("{}")


def pointer(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


@pytest.mark.parametrize(
    ("kind", "change", "line"),
    [
        ("llava", no_processor, "preprocessor_config.json"),
        ("text", own_code, "brings code of its own, which is never run; take a model that transformers has itself"),
        ("text", own_tokenizer, "brings code of its own, which is never run"),
        ("text", another_task, "holds a t5, neither an image-text-to-text nor a causal model"),
        ("text", adapter, r"holds an adapter \(LoRA\); merge it first"),
        ("text", pointer, "is only a pointer of Git LFS; run `git lfs pull`"),
    ],
)
def test_what_a_folder_lacks_is_one_line(folder, tmp_path, kind, change, line):
    shutil.copytree(folder(kind), tmp_path, dirs_exist_ok=True)
    change(tmp_path)
    with pytest.raises(ModelError, match=line) as error:
        load(str(tmp_path), device="cpu")
    assert "\n" not in str(error.value) and len(str(error.value)) < 800


def sharded(source, target):
    """A copy of a model of text whose weights are in two files and an index."""
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(source, dtype="float32")
    if source != target:
        shutil.copytree(source, target, dirs_exist_ok=True)
    (target / "model.safetensors").unlink()
    network.save_pretrained(target, max_shard_size="60KB")
    index = target / "model.safetensors.index.json"
    assert index.is_file() and len(list(target.glob("*.safetensors"))) > 1
    return index


class Planted:
    """Something that, unpickled, leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_weights_in_parts_are_the_same_weights_also_through_the_links_of_the_hubs_cache(folder, model, tmp_path):
    index = sharded(folder("text"), tmp_path / "blobs")
    snapshot = tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    for number, file in enumerate((tmp_path / "blobs").iterdir()):
        blob = file.rename(tmp_path / "blobs" / f"blob{number}")
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    request = Generate(Prompt("Answer:"), 6)
    linked = load(str(snapshot), device="cpu", chat_template="none")
    assert answered(linked, request) == answered(model("text"), request)
    part = next(snapshot.glob("model-00002*.safetensors"))
    moved = snapshot / "parts" / part.name
    moved.parent.mkdir()
    moved.symlink_to(part.resolve())
    part.unlink()
    changed(
        snapshot / index.name,
        **json.loads((snapshot / index.name).read_text().replace(part.name, f"parts/{part.name}")),
    )
    nested = load(str(snapshot), device="cpu", chat_template="none")
    assert answered(nested, request) == answered(model("text"), request)
    before = nested.digest()
    moved.resolve().write_bytes(moved.read_bytes()[:-1] + b"\x01")
    assert nested.digest() != before


@pytest.mark.parametrize(
    "name", ["weights.bin", "../away.safetensors", "/away.safetensors", "model.safetensors.pt", ""]
)
def test_an_index_names_safetensors_of_its_folder_alone_and_nothing_is_unpickled(folder, tmp_path, name):
    import torch

    index = sharded(folder("text"), tmp_path / "model")
    torch.save({"lm_head.weight": Planted(tmp_path / "run")}, tmp_path / "model" / "weights.bin")
    weights = json.loads(index.read_text())
    name = f"{tmp_path}{name}" if name.startswith("/") else name
    weights["weight_map"]["lm_head.weight"] = name
    shutil.copy(next((tmp_path / "model").glob("*.safetensors")), tmp_path / "away.safetensors")
    index.write_text(json.dumps(weights))
    with pytest.raises(
        ModelError, match=r"index.json names the weights .*; expected a \*\.safetensors file in"
    ) as error:
        load(str(tmp_path / "model"), device="cpu")
    assert repr(name) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("found", ["[]", '{"weight_map": []}', '{"weight_map": {}}', "{", "{}"])
def test_a_malformed_index_is_one_line(folder, tmp_path, found):
    sharded(folder("text"), tmp_path).write_text(found)
    line = "is not an index of weights; expected|holds a list; expected a JSON object|cannot be read"
    with pytest.raises(ModelError, match=rf"index\.json ({line})") as error:
        load(str(tmp_path), device="cpu")
    assert "\n" not in str(error.value)


def no_part(folder):
    index = sharded(folder, folder)
    next(index.parent.glob("model-00002*.safetensors")).unlink()


def weights_folder(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()


def pickled_weights(folder):
    import torch

    changed(folder / "config.json", transformers_weights="adapter_model.bin")
    torch.save({"lm_head.weight": Planted(folder / "run")}, folder / "adapter_model.bin")


def code_of_the_hub(folder):
    changed(folder / "config.json", attn_implementation="organisation/attention")


def audio(folder):
    changed(folder / "processor_config.json", audio_tokenizer={"audio_tokenizer_name_or_path": "organisation/audio"})


@pytest.mark.parametrize(
    ("kind", "change", "line"),
    [
        ("text", no_part, r"model-00002-of-.*\.safetensors is missing or not a file; copy or download"),
        ("text", weights_folder, r"model\.safetensors is missing or not a file"),
        ("text", pickled_weights, r"config\.json names the weights 'adapter_model\.bin'; expected a \*\.safetensors"),
        ("text", code_of_the_hub, "asks for the code 'organisation/attention' of the Hub, which is never run"),
        ("llava", audio, "has an audio tokenizer, which is never loaded"),
    ],
)
def test_what_a_folder_would_load_besides_its_safetensors_is_refused(folder, tmp_path, kind, change, line):
    shutil.copytree(folder(kind), tmp_path, dirs_exist_ok=True)
    change(tmp_path)
    with pytest.raises(ModelError, match=line) as error:
        load(str(tmp_path), device="cpu")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_code_of_the_hub_is_refused_in_a_part_of_a_model_too(model):
    config = type(model("llava").engine.network.config)()
    check_config(config, Path("model"))
    config.vision_config._experts_implementation = "organisation/experts"
    with pytest.raises(ModelError, match="asks for the code 'organisation/experts' of the Hub"):
        check_config(config, Path("model"))


def test_pickles_beside_the_weights_are_never_read(folder, model, tmp_path):
    import torch

    shutil.copytree(folder("text"), tmp_path, dirs_exist_ok=True)
    for name in ("training_args.bin", "optimizer.pt", "pytorch_model.bin", "adapter_model.bin", "scheduler.pt"):
        torch.save(Planted(tmp_path / "run"), tmp_path / name)
    request = Generate(Prompt("Answer:"), 3)
    found = answered(load(str(tmp_path), device="cpu", chat_template="none"), request)
    assert found == answered(model("text"), request) and not (tmp_path / "run").exists()


def test_a_chat_template_that_refuses_a_prompt_fails_it_by_name(folder, tmp_path):
    shutil.copytree(folder("llava"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('a system turn is needed') }}")
    (output,) = answered(load(str(tmp_path), device="cpu"), Generate(SHOT, 2))
    assert output == Failure("the chat template refuses the prompt (a system turn is needed); use chat_template=none")


def test_weights_that_lack_a_tensor_are_refused_rather_than_made_up(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder("text"), tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors, such as model\.layers\.1\.mlp\.up_proj\.weight"):
        load(str(tmp_path), device="cpu")


def test_an_image_has_the_marks_around_it_that_the_model_was_trained_with(folder, tmp_path, model):
    shutil.copytree(folder("qwen2vl"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").unlink()
    for tiny in (model("qwen2vl"), load(str(tmp_path), device="cpu")):
        assert tiny.encoder.renderer.text(Prompt("a", RED)) == "a<|vision_start|><|image_pad|><|vision_end|>"


def test_unknown_settings_are_named(folder):
    path = str(folder("text"))
    with pytest.raises(UnknownName, match="no chat_template is called 'non'; did you mean 'none'"):
        load(path, chat_template="non")
    with pytest.raises(UnknownName, match="no dtype is called 'float8'"):
        load(path, dtype="float8")
    with pytest.raises(ModelError, match="device is 'tpu'; expected auto, cpu, cuda, cuda:N, mps"):
        load(path, device="tpu")
    assert str(load(path, device="cpu", dtype="bf16").engine.network.dtype) == "torch.bfloat16"
    with pytest.raises(ModelError, match="batch_size is 0"):
        load(path, batch_size=0)


def test_importing_the_adapter_imports_no_torch():
    code = "import sys, kosmos_eval.models.hf; print([m for m in ('torch', 'transformers', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


DEMONSTRATIONS = Prompt(RED, " a red cat.\n", BLUE, " a blue dog.\n")
SHOWN = [
    DEMONSTRATIONS + Prompt(image, text) for image in (RED, BLUE) for text in (" The photo of the", " An image of")
]


def counted(monkeypatch, engine):
    """The tokens of each batch of prompts that is read."""
    read, batches = type(engine).read, []

    def counting(self, prompts, *, after=None):
        batches.append([len(prompt.ids) for prompt in prompts])
        return read(self, prompts, after=after)

    monkeypatch.setattr(type(engine), "read", counting)
    return batches


@pytest.mark.parametrize("family", FAMILIES)
def test_demonstrations_are_read_once_and_change_no_answer(folder, family, monkeypatch):
    tiny = load(str(folder(family)), device="cpu", chat_template="none")
    requests = [Generate(prompt, 6, beams=beams) for prompt in SHOWN for beams in (1, 2)]
    requests += [LogLikelihood(prompt, NAMES_OF_THINGS) for prompt in SHOWN]
    requests += [Generate(prompt, choices=(" cat", " dog")) for prompt in SHOWN]
    batches = counted(monkeypatch, tiny.engine)
    shared = answered(tiny, *requests)
    longest = max(length for batch in batches[3:] for length in batch)  # after the head, and one prompt read both ways
    shares = tiny._exact[2, 1]
    assert shares is (family != "kosmos2")  # that one does not see images after a cache, so it reads wholes
    assert shares is (longest < len(tiny.encoder.encode(SHOWN[0], Image.pixels).ids) // 2)
    alone = [answered(tiny, request)[0] for request in requests]
    for one, other in zip(shared, alone, strict=True):
        if isinstance(one, Completion):
            assert (one.text, one.tokens) == (other.text, other.tokens)
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        else:
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert (one.tokens, one.greedy) == (other.tokens, other.greedy)


def test_texts_share_what_they_begin_with_too(model, monkeypatch):
    shown = "".join(f"Question: what is this? Answer: {answer}\n" for answer in ("yes", "no", "C", "Cat") * 2)
    requests = [LogLikelihood(Prompt(f"{shown}Question: {word}? Answer:"), NAMES_OF_THINGS) for word in "abcd"]
    batches = counted(monkeypatch, model("text").engine)
    outputs = answered(model("text"), *requests)
    assert max(length for batch in batches[3:] for length in batch) < 60
    for request, output in zip(requests, outputs, strict=True):
        expected = [plain(model("text"), request.prompt, string)[0] for string in NAMES_OF_THINGS]
        assert output.logprobs == pytest.approx(expected, abs=1e-4)


def test_a_model_that_does_not_continue_a_cache_by_a_prompt_reads_each_as_a_whole(folder, monkeypatch):
    tiny = load(str(folder("llava")), device="cpu", chat_template="none")
    expected = answered(tiny, *(Generate(prompt, 4) for prompt in SHOWN))
    read = type(tiny.engine).read

    def forgetful(self, prompts, *, after=None):
        return read(self, prompts)

    tiny._exact, tiny._states = {}, {}
    monkeypatch.setattr(type(tiny.engine), "read", forgetful)
    found = answered(tiny, *(Generate(prompt, 4) for prompt in SHOWN))
    assert [output.text for output in found] == [output.text for output in expected]
    assert tiny._exact == {(2, 1): False}


def test_a_broken_demonstration_fails_those_that_show_it_by_name(model):
    broken = Prompt(Image(b"GIF"), " a cat.\n")
    outputs = answered(model("llava"), *(Generate(broken + prompt, 2) for prompt in SHOWN), Generate(ASKED[1], 2))
    assert all("cannot be decoded" in output.reason for output in outputs[:-1])
    assert isinstance(outputs[-1], Completion)


def test_a_text_is_drawn_alike_alone_and_in_a_batch(model):
    requests = [Generate(p, 6, sampling=Sampling(top_p=0.9, seed=seed)) for p in SHOWN for seed in (0, 1)]
    together = answered(model("llava"), *requests)
    assert [output.text for output in together] == [answered(model("llava"), each)[0].text for each in requests]
    assert len({output.text for output in together}) > len(SHOWN)
    sharp = Sampling(temperature=1e-3)
    assert (
        answered(model("llava"), Generate(SHOWN[0], 6, sampling=sharp))[0].text
        == answered(model("llava"), Generate(SHOWN[0], 6))[0].text
    )


def test_a_network_that_cannot_be_called_without_pixels_is_known_by_its_signature(folder):
    from transformers import Blip2ForConditionalGeneration, LlavaForConditionalGeneration

    assert requires_pixels(Blip2ForConditionalGeneration.forward)
    assert not requires_pixels(LlavaForConditionalGeneration.forward)
    needy = dataclasses.replace(load(str(folder("text"))), requires_images=True)
    ((_, failed),) = needy.answers([Generate(Prompt("a"), 2)])
    assert "reads no prompt without an image" in failed.reason


def test_a_model_in_memory_answers_as_from_its_folder_and_its_training_goes_on_unchanged(folder, model):
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from kosmos_eval.hook.isolation import preserve_training_state

    network = AutoModelForImageTextToText.from_pretrained(folder("llava"), dtype="float32").train()
    processor = AutoProcessor.from_pretrained(folder("llava"))
    before = live(network, processor).fingerprint
    requests = [Generate(SHOT, 4), LogLikelihood(SHOT, NAMES_OF_THINGS)]
    with preserve_training_state(network):
        assert answered(live(network, processor), *requests) == answered(model("llava"), *requests)
    assert network.training
    assert live(network, processor).fingerprint == before
    torch.nn.init.zeros_(network.lm_head.weight)
    assert live(network, processor).fingerprint != before
    words = live(load(str(folder("text")), device="cpu").engine.network, processor.tokenizer)
    assert isinstance(answered(words, Generate(Prompt("Answer:"), 2))[0], Completion)
    slow = SimpleNamespace(is_fast=False)
    with pytest.raises(ModelError, match="SimpleNamespace is a slow tokenizer; a fast one"):
        live(network, slow)
