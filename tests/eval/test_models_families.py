"""Families whose layout, masks or caches are unlike LLaVA's, tiny and at random, against their own processors."""

import itertools

import pytest

from kosmos_eval.errors import ModelError
from kosmos_eval.models.hf.model import load
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate, LogLikelihood
from tests.eval.test_models_hf import (
    ASKED,
    BLUE,
    LLAMA,
    NAMES,
    NAMES_OF_THINGS,
    RED,
    SHOT,
    SHOWN,
    VISION,
    answered,
    save_kosmos2,
    tokenizer,
)

SIGLIP = {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 14, "vision_use_head": False, **VISION}
SPECIALS = ("<unk>", "<s>", "</s>", "<pad>")


def words_of(*specials, **options):
    return tokenizer([*SPECIALS, *specials], template="<s> $A", bos_token="<s>", **NAMES, **options)


def text_of(words, kind, **more):
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    return {"model_type": kind, "vocab_size": len(words), **ids, **LLAMA, **more}


def paligemma(folder):
    from transformers import (
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        SiglipImageProcessor,
    )

    pictures = SiglipImageProcessor(size={"height": 28, "width": 28})
    pictures.image_seq_length = 4
    processor = PaliGemmaProcessor(pictures, words_of("<image>"))
    config = PaliGemmaConfig(
        vision_config={**SIGLIP, "projection_dim": 32},
        text_config=text_of(processor.tokenizer, "gemma", head_dim=8),
        projection_dim=32,
        hidden_size=32,
        image_token_index=processor.image_token_id,
    )
    return PaliGemmaForConditionalGeneration(config), processor


def gemma3(folder):
    import torch
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessor, Gemma3Processor

    marks = {"image_token": "<soft>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    words = words_of(*marks.values(), extra_special_tokens=marks)
    config = Gemma3Config(
        vision_config=SIGLIP,
        text_config=text_of(
            words, "gemma3_text", head_dim=8, sliding_window=16, sliding_window_pattern=2, query_pre_attn_scalar=8
        ),
        mm_tokens_per_image=4,
        image_token_index=4,
        boi_token_index=5,
        eoi_token_index=6,
    )
    network = Gemma3ForConditionalGeneration(config)
    torch.nn.init.normal_(network.model.multi_modal_projector.mm_input_projection_weight)  # zeros otherwise
    return network, Gemma3Processor(Gemma3ImageProcessor(size={"height": 28, "width": 28}), words, image_seq_length=4)


def idefics2(folder):
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration, Idefics2ImageProcessor, Idefics2Processor

    words = words_of("<image>", "<fake_token_around_image>", "<end_of_utterance>")
    pictures = Idefics2ImageProcessor(size={"shortest_edge": 16, "longest_edge": 32}, do_image_splitting=False)
    resampler = {"hidden_size": 32, "resampler_n_latents": 3, "resampler_depth": 1, "resampler_n_heads": 4}
    config = Idefics2Config(
        vision_config={"image_size": 32, "patch_size": 8, **VISION},
        perceiver_config={**resampler, "resampler_head_dim": 8, "num_key_value_heads": 2},
        text_config=text_of(words, "mistral"),
        image_token_id=4,
    )
    return Idefics2ForConditionalGeneration(config), Idefics2Processor(pictures, words, image_seq_len=3)


def onevision(folder):
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    words, grid = words_of("<image>", "<video>"), [[28, 56], [56, 28], [56, 56]]
    size = {"height": 28, "width": 28}
    config = LlavaOnevisionConfig(
        vision_config=SIGLIP,
        text_config=text_of(words, "qwen2"),
        image_token_index=4,
        video_token_index=5,
        image_grid_pinpoints=grid,
    )
    pictures = LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=grid)
    videos = LlavaOnevisionVideoProcessor(size=size)
    options = {"num_image_tokens": 4, "vision_feature_select_strategy": "full"}
    return LlavaOnevisionForConditionalGeneration(config), LlavaOnevisionProcessor(pictures, words, videos, **options)


def mistral(folder):
    from transformers import AutoModelForCausalLM, MistralConfig

    words = words_of()
    config = MistralConfig(**text_of(words, "mistral", sliding_window=16))
    return AutoModelForCausalLM.from_config(config), words


FAMILIES = [paligemma, gemma3, idefics2, onevision]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import torch

    threads, loaded = torch.get_num_threads(), {}
    torch.set_num_threads(1)

    def of(family):
        if family not in loaded:
            folder = tmp_path_factory.mktemp(family.__name__)
            torch.manual_seed(0)
            for part in family(folder):
                part.save_pretrained(folder)
            loaded[family] = load(str(folder), device="cpu", chat_template="none"), folder
        return loaded[family]

    yield of
    torch.set_num_threads(threads)


def told(folder, prompt, string):
    """Log-probability of a string, by the model's own processor and one forward pass in transformers alone."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    network = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32").eval()
    text = prompt.text(getattr(processor, "boi_token", processor.image_token))
    images = [[image.pixels() for image in prompt.images]]
    if network.config.model_type == "paligemma":
        inputs = processor(text=[text], images=images, suffix=[string.strip()], return_tensors="pt")
        length = int((inputs["token_type_ids"] == 0).sum())
        inputs = {name: value[:, :-1] if value.ndim == 2 else value for name, value in inputs.items()}  # without EOS
    else:
        inputs = processor(text=[text + string], images=images, return_tensors="pt")
        length = len(processor(text=[text], images=images)["input_ids"][0])
    inputs.pop("labels", None)
    with torch.inference_mode():
        scores = network(**inputs).logits[0].log_softmax(-1)
    ids = inputs["input_ids"][0].tolist()
    return sum(float(scores[i - 1, ids[i]]) for i in range(length, len(ids)))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in PaliGemma's own processor
@pytest.mark.parametrize("family", FAMILIES)
def test_continuations_score_as_in_one_forward_pass_on_what_the_processor_makes(model, family):
    tiny, folder = model(family)
    prompts = [SHOT, Prompt(BLUE, "An image of"), Prompt("a", RED, "\nThe photo of the"), Prompt("Answer:")]
    outputs = answered(tiny, *(LogLikelihood(prompt, NAMES_OF_THINGS[:3]) for prompt in prompts))
    for prompt, output in zip(prompts[:-1], outputs[:-1], strict=True):
        assert output.logprobs[0] == pytest.approx(told(folder, prompt, NAMES_OF_THINGS[0]), abs=1e-4)
    (alone,) = answered(tiny, LogLikelihood(prompts[-1], NAMES_OF_THINGS[:3]))
    assert outputs[-1].logprobs == pytest.approx(alone.logprobs, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_images_are_seen_in_their_places_and_counted_as_they_are_expanded(model, family):
    tiny, _ = model(family)
    swapped = Prompt(BLUE, " a red cat. ", RED, " The photo of the")
    moved = Prompt(" a red cat. ", RED, BLUE, " The photo of the")
    scores = [one.logprobs[0] for one in answered(tiny, *(LogLikelihood(p, (" cat",)) for p in (SHOT, swapped, moved)))]
    assert min(abs(a - b) for a, b in itertools.combinations(scores, 2)) > 1e-3
    for prompt in ASKED:
        assert tiny.encoder.length(prompt) == len(tiny.encoder.encode(prompt, Image.pixels).ids)


def alike(tiny, requests):
    together = answered(tiny, *requests)
    for one, request in zip(together, requests, strict=True):
        (other,) = answered(tiny, request)
        if isinstance(one, Completion):
            assert one.text == other.text
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        else:
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_read_once_for_several_changes_no_answer(model, family):
    requests = [Generate(prompt, 4, beams=beams) for prompt in SHOWN for beams in (1, 2)]
    requests += [LogLikelihood(prompt, NAMES_OF_THINGS) for prompt in SHOWN]
    alike(model(family)[0], [*requests, *(Generate(prompt, choices=(" cat", " dog")) for prompt in SHOWN)])


def test_padding_does_not_push_tokens_out_of_a_window(model):
    tiny, _ = model(mistral)
    shown = "".join(f"Question: what is this? Answer: {answer}\n" for answer in ("yes", "no", "C", "Cat") * 2)
    asked = [Prompt(f"{shown}Question: {'what is ' * count}this? Answer:") for count in (1, 4, 1, 4)]
    alike(tiny, [LogLikelihood(prompt, NAMES_OF_THINGS) for prompt in asked] + [Generate(p, 6) for p in asked])
    assert tiny._exact == {(0, 0): True}


def test_paligemma_has_bos_after_its_images_and_a_line_break_before_the_answer(model):
    tiny, _ = model(paligemma)
    prefix, (continuation,) = tiny.encoder.encode_continuations(
        Prompt(RED, "Answer:"), [" yes"], Image.pixels, end=None
    )
    words = tiny.encoder.renderer.tokenizer
    assert words.decode(prefix.ids) == "<image><image><image><image><s>Answer:\n"
    assert words.decode(continuation.ids) == "yes"


def test_a_text_is_decoded_as_the_task_asks_and_what_the_model_wishes_is_noted(tmp_path):
    import json

    save_kosmos2(tmp_path)
    path = tmp_path / "generation_config.json"
    (free,) = answered(load(str(tmp_path), device="cpu"), Generate(SHOT, 12))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"no_repeat_ngram_size": 1}))
    model = load(str(tmp_path), device="cpu")
    assert answered(model, Generate(SHOT, 12)) == [free]
    assert model.notes == ["decodes as the tasks ask, without generation_config.json's no_repeat_ngram_size=1"]


def test_smolvlm_reads_images_and_without_num2words_names_the_command(tmp_path, monkeypatch):
    import torch
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessor, SmolVLMProcessor
    from transformers.models.smolvlm import processing_smolvlm
    from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

    monkeypatch.setattr(processing_smolvlm, "num2words", str)
    tiles = [f"<row_{row}_col_{col}>" for row, col in itertools.product(range(1, 7), range(1, 7))]
    words = words_of("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *tiles)
    config = SmolVLMConfig(
        text_config=text_of(words, "llama"),
        vision_config={"image_size": 32, "patch_size": 8, **VISION},
        image_token_id=4,
        scale_factor=2,
    )
    torch.manual_seed(0)
    SmolVLMForConditionalGeneration(config).save_pretrained(tmp_path)
    pictures = SmolVLMImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    SmolVLMProcessor(pictures, words, SmolVLMVideoProcessor(), image_seq_len=4).save_pretrained(tmp_path)
    model = load(str(tmp_path), device="cpu", chat_template="none")
    one, other = answered(
        model, LogLikelihood(Prompt(RED, "x"), (" cat",)), LogLikelihood(Prompt(BLUE, "x"), (" cat",))
    )
    assert one.logprobs != other.logprobs
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    with pytest.raises(
        ModelError, match=r"`num2words` is required .*; see also pip install 'kosmos-eval\[hf\]'"
    ) as error:
        load(str(tmp_path), device="cpu")
    assert "\n" not in str(error.value)
