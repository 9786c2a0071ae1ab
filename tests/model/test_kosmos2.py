"""A tiny randomly initialised KOSMOS-2, saved by transformers, in our model against transformers itself."""

import json
import shutil

import numpy
import PIL.Image
import pytest
import torch

from kosmos_eval.errors import ModelError
from kosmos_eval.evaluation.evaluator import evaluate_setting
from kosmos_eval.evaluation.plan import plan
from kosmos_eval.evaluation.run_folder import RunFolder
from kosmos_eval.evaluation.scores import scored
from kosmos_eval.evaluation.setup import load_model, load_task
from kosmos_eval.models.hf import model as hf
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Failure, Generate, LogLikelihood
from kosmos_eval.source import Source
from kosmos_model.adapters import kosmos2
from kosmos_model.modeling.checkpoint import empty
from kosmos_model.modeling.kosmos2_tokenizer import Kosmos2Tokenizer

CORPUS = [
    "Question: what is this? Answer: yes Answer: no Answer: C Answer: Cat",
    "An image of a red cat, a blue dog. The photo of the piggy bank, the pig.",
]
FIRST = ["<s>", "<pad>", "</s>", "<unk>"]
SYNTHETIC = ["coco_caption", "vqav2", "raven_iq", "rendered_sst2", "imagenet"]
SLOTS = 4


def words(kind):
    """A tokenizer like KOSMOS-2's (SentencePiece's unigrams, words alone), or byte-level BPE, which keeps spaces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if kind == "bytes":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        made.train_from_iterator(
            CORPUS * 4,
            trainers.BpeTrainer(vocab_size=340, special_tokens=FIRST, initial_alphabet=alphabet, show_progress=False),
        )
    else:
        pieces = [
            *map(chr, range(33, 127)),
            "\u2581",
            *(f"\u2581{word}" for text in CORPUS for word in text.split()[::2]),
        ]
        vocabulary = [*((token, 0.0) for token in FIRST), *((piece, -1.0) for piece in dict.fromkeys(pieces))]
        made = Tokenizer(models.Unigram(vocabulary, unk_id=3))
        made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
        made.decoder = decoders.Metaspace()
        made.add_special_tokens(FIRST)
    bounds = [("<s>", 0), ("</s>", 2)]
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=bounds)
    first = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), FIRST, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, **first)


def save(folder, kind, **text):
    from transformers import CLIPImageProcessor, Kosmos2Config, Kosmos2ForConditionalGeneration, Kosmos2Processor

    pictures = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = Kosmos2Processor(pictures, words(kind), num_patch_index_tokens=4)
    shape = {"embed_dim": 32, "layers": 2, "ffn_dim": 48, "attention_heads": 4, "max_position_embeddings": 1024}
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Kosmos2Config(
        text_config={"vocab_size": len(processor.tokenizer), "init_std": 0.4, **shape, **text},
        vision_config={"image_size": 28, "patch_size": 14, **vision},
        latent_query_num=SLOTS,
    )
    torch.manual_seed(0)
    Kosmos2ForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", params=["unigrams", "bytes"])
def saved(request, tmp_path_factory):
    return save(tmp_path_factory.mktemp("kosmos2") / request.param, request.param)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return save(tmp_path_factory.mktemp("kosmos2") / "tiny", "unigrams")


@pytest.fixture
def folder(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "tiny")


def original(folder):
    from transformers import Kosmos2ForConditionalGeneration

    return Kosmos2ForConditionalGeneration.from_pretrained(folder).eval()


def picture(seed, size=(40, 30)):
    return Image.drawn(PIL.Image.fromarray(numpy.random.default_rng(seed).integers(0, 255, (*size, 3), "uint8")))


RED, BLUE = picture(1), picture(2, (20, 60))
SHOT = Prompt(RED, " a red cat. ", BLUE, " The photo of the")
ASKED = [SHOT, Prompt(BLUE, "An image of"), Prompt("Question: what is ", RED), Prompt("Answer:"), Prompt(RED, BLUE)]
NAMES = (" cat", " dog, a pig", " piggy bank", " pig", "?")


def inputs(model, *prompts):
    """The prompts as one batch, padded on the right: tokens, pixels, and where the image vectors belong."""
    rows, images = zip(*(model.tokenizer.prompt(prompt) for prompt in prompts), strict=True)
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in rows], batch_first=True, padding_value=1)
    pixels = [model.pixels(image) for several in images for image in several]
    return tokens, torch.stack(pixels) if pixels else None, (tokens == model.tokenizer.slot).long()


def answered(model, *requests):
    outputs = dict(model.answers(requests))
    return [outputs[index] for index in range(len(requests))]


@pytest.mark.parametrize("count", [1, 2, 5])
@torch.no_grad()
def test_logits_are_those_of_transformers_with_images(saved, count):
    model = kosmos2.load(str(saved), device="cpu")
    prompt = Prompt("so ", *(part for seed in range(count) for part in (picture(seed), f" is the {seed}. ")))
    tokens, pixels, places = inputs(model, prompt)
    expected = original(saved)(pixel_values=pixels, input_ids=tokens, image_embeds_position_mask=places).logits
    torch.testing.assert_close(model.model(tokens, pixels), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_logits_without_images_are_those_of_the_text_model(saved):
    model = kosmos2.load(str(saved), device="cpu")
    tokens, pixels, _ = inputs(model, Prompt(" ".join(CORPUS)))
    assert pixels is None
    expected = original(saved).text_model(input_ids=tokens).logits
    torch.testing.assert_close(model.model(tokens), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_padded_batch_has_the_logits_of_transformers_even_where_it_is_padded(tiny):
    model = kosmos2.load(str(tiny), device="cpu")
    tokens, pixels, places = inputs(model, *ASKED)
    assert (tokens == 1).any()
    expected = original(tiny)(pixel_values=pixels, input_ids=tokens, image_embeds_position_mask=places).logits
    torch.testing.assert_close(model.model(tokens, pixels), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("option", [{"scale_embedding": False}, {"embed_dim": 24, "attention_heads": 8}])
@torch.no_grad()
def test_other_shapes_are_read_from_the_settings(tmp_path, option):
    model = kosmos2.load(str(save(tmp_path / "other", "unigrams", **option)), device="cpu")
    tokens, pixels, places = inputs(model, SHOT)
    whole = original(tmp_path / "other")
    expected = whole(pixel_values=pixels, input_ids=tokens, image_embeds_position_mask=places).logits
    torch.testing.assert_close(model.model(tokens, pixels), expected, atol=1e-4, rtol=0)


def test_greedy_texts_are_those_of_transformers(saved):
    model, whole = kosmos2.load(str(saved), device="cpu"), original(saved)
    outputs = answered(model, *(Generate(prompt, 12) for prompt in ASKED))
    for prompt, output in zip(ASKED, outputs, strict=True):
        tokens, pixels, places = inputs(model, prompt)
        seen = {"pixel_values": pixels, "image_embeds_position_mask": places} if pixels is not None else {}
        writer = whole if pixels is not None else whole.text_model
        mask = torch.ones_like(tokens)
        made = writer.generate(input_ids=tokens, attention_mask=mask, max_new_tokens=12, do_sample=False, **seen)
        assert output.text == model.tokenizer.decode(made[0, tokens.shape[1] :].tolist())
        assert output.tokens == 12


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("penalty", [0.0, 2.0])
@pytest.mark.parametrize("beams", [2, 5])
def test_beams_are_those_of_transformers(tiny, beams, penalty, early):
    ours, theirs = kosmos2.load(str(tiny), device="cpu"), original(tiny)
    prompts = [Prompt(picture(seed), text) for seed, text in enumerate((" An image of", " Answer:", " a red"))]
    searches = [Generate(p, 8, beams=beams, length_penalty=penalty, early_stopping=early) for p in prompts]
    for prompt, output in zip(prompts, answered(ours, *searches), strict=True):
        tokens, pixels, places = inputs(ours, prompt)
        made = theirs.generate(
            pixel_values=pixels,
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            image_embeds_position_mask=places,
            suppress_tokens=list(ours.tokenizer.unspoken),
            max_new_tokens=8,
            do_sample=False,
            num_beams=beams,
            length_penalty=penalty,
            early_stopping=early,
        )
        ids = [token for token in made[0, tokens.shape[1] :].tolist() if token != 1]
        assert output.tokens == len(ids)
        assert output.text == ours.tokenizer.decode(ids[:-1] if ids[-1] == 2 else ids)


def test_answers_are_those_of_the_transformers_adapter(saved):
    ours, theirs = kosmos2.load(str(saved), device="cpu"), hf.load(str(saved), device="cpu")
    asked = [
        request
        for prompt in ASKED
        for request in (
            Generate(prompt, 8),
            Generate(prompt, 8, beams=3, length_penalty=0.0),
            Generate(prompt, beams=9, length_penalty=0.0, choices=NAMES),
            LogLikelihood(prompt, NAMES, terminated=True),
        )
    ]
    for found, expected in zip(answered(ours, *asked), answered(theirs, *asked), strict=True):
        if hasattr(expected, "logprobs"):
            assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
            assert (found.tokens, found.greedy) == (expected.tokens, expected.greedy)
        else:
            assert found.text == expected.text
            assert found.logprob == pytest.approx(expected.logprob, abs=1e-4)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_every_synthetic_task_is_answered_and_marked(tiny, name):
    model, run = load_model(f"kosmos2:{tiny}", device="cpu"), RunFolder()
    for setting in plan({name: load_task(name, Source())}, shots=[0, 1], limit=2):
        evaluate_setting(model, setting, run)
        samples, scores = scored(setting, run)
        assert len(samples) == len(scores) == 2
        assert run.record(setting.key, samples[0].id).shown == setting.shots


def test_prompts_have_the_tokens_of_its_own_processor(saved):
    from transformers import AutoProcessor

    processor, tokenizer = AutoProcessor.from_pretrained(saved), kosmos2.read(saved)[1]
    text = "<grounding> An image of<phrase> a red cat</phrase><object><patch_index_0002></object>"
    made = processor(text=text, images=RED.pixels(), num_image_tokens=SLOTS)
    ids, _ = tokenizer.prompt(Prompt(RED, f" {text}"))
    assert [4 + i for i in range(SLOTS)] == made["input_ids"][2 : 2 + SLOTS]  # what it writes in the slots
    assert ids[:2] + ids[2 + SLOTS :] == made["input_ids"][:2] + made["input_ids"][2 + SLOTS :]
    assert ids[2 : 2 + SLOTS] == [tokenizer.slot] * SLOTS
    assert tokenizer.decode(ids[3 + SLOTS :]).endswith("<patch_index_0002></object>")


def test_no_token_of_an_image_or_of_a_documents_bounds_comes_from_text(tiny):
    tokenizer = kosmos2.read(tiny)[1]
    for mark in (*FIRST, "<image>", "</image>", "</doc>"):
        ids = tokenizer.encode(f"a {mark} b{mark}")
        assert not {0, 1, 2, tokenizer.image, tokenizer.image_end, tokenizer.slot} & set(ids)
        assert tokenizer.decode(ids).replace(" ", "") == f"a{mark}b{mark}"
    assert tokenizer.decode(tokenizer.encode("a lone \ud800"))


def test_images_are_prepared_as_the_folder_says(folder):
    from transformers import AutoImageProcessor

    model = kosmos2.load(str(folder), device="cpu")
    settings = json.loads((folder / "processor_config.json").read_text())
    settings["image_processor"] |= {"size": {"height": 28, "width": 28}, "do_center_crop": False}
    (folder / "processor_config.json").write_text(json.dumps(settings))
    squashing = kosmos2.load(str(folder), device="cpu")
    assert not torch.equal(model.pixels(BLUE), squashing.pixels(BLUE))
    expected = AutoImageProcessor.from_pretrained(folder)(BLUE.pixels(), return_tensors="pt")["pixel_values"][0]
    assert torch.equal(squashing.pixels(BLUE), expected)
    assert model.fingerprint != squashing.fingerprint
    older = folder / "preprocessor_config.json"  # where the public folder has these settings
    older.write_text(json.dumps(settings["image_processor"]))
    (folder / "processor_config.json").unlink()
    assert torch.equal(kosmos2.load(str(folder), device="cpu").pixels(BLUE), expected)


def test_a_broken_image_fails_its_own_request_only(tiny):
    model = kosmos2.load(str(tiny), device="cpu")
    bad, good = answered(model, Generate(Prompt(Image(b"none"), "a"), 2), Generate(SHOT, 2))
    assert isinstance(bad, Failure)
    assert good.tokens == 2


def test_a_prompt_fits_by_the_positions_it_was_trained_with(tiny):
    model = kosmos2.load(str(tiny), device="cpu")
    length = len(model.tokenizer.prompt(SHOT)[0])
    assert model.fits(Generate(SHOT, 1024 - length))
    assert not model.fits(Generate(SHOT, 1025 - length))


def rewrite(folder, change):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def same_weights(one, other):
    assert all(torch.equal(weight, other.get_parameter(name)) for name, weight in one.named_parameters())


def test_shards_and_what_older_versions_wrote_are_read_alike(tiny, folder):
    from safetensors.torch import load_file, save_file

    expected = kosmos2.read(tiny)[0]
    head = "text_model.lm_head.weight"

    def as_before(weights):
        weights[head] = weights["text_model.model.embed_tokens.weight"].clone()
        weights["vision_model.model.embeddings.position_ids"] = torch.arange(5)[None]

    rewrite(folder, as_before)
    same_weights(expected, kosmos2.read(folder)[0])
    weights = load_file(folder / "model.safetensors")
    for part in (0, 1):
        some = {name: weight for number, (name, weight) in enumerate(weights.items()) if number % 2 == part}
        save_file(some, folder / f"model-0000{part + 1}-of-00002.safetensors")
    (folder / "model.safetensors").unlink()
    same_weights(expected, kosmos2.read(folder)[0])
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert " lacks " in refused(folder)


def refused(folder):
    with pytest.raises(ModelError) as error:
        kosmos2.load(str(folder), device="cpu")
    assert "\n" not in str(error.value)
    return str(error.value)


def settings(folder, name="config.json", **changes):
    values = json.loads((folder / name).read_text())
    for path, value in changes.items():
        part, _, inner = path.rpartition("__")
        (values[part] if part else values)[inner] = value
    (folder / name).write_text(json.dumps(values))


def test_what_is_no_kosmos2_folder_is_refused(folder, tmp_path):
    assert "there is no model folder" in refused(tmp_path / "nowhere")
    assert "holds no config.json" in refused(tmp_path)
    settings(folder, model_type="llava")
    assert "config.json is of model_type 'llava', not 'kosmos-2'; for other models there is --model hf:" in refused(
        folder
    )
    (folder / "config.json").write_text("[]")
    assert "config.json is of model_type None" in refused(folder)
    (folder / "config.json").write_text('{"model_type"')
    assert "config.json cannot be read" in refused(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_config__activation_function": "relu"}, "text_config.activation_function 'relu'; a KOSMOS-2 has 'gelu'"),
        ({"text_config__pad_token_id": 3}, "text_config.pad_token_id 3; a KOSMOS-2 has 1"),
        ({"vision_config__num_channels": 4}, "vision_config.num_channels 4; a KOSMOS-2 has 3"),
        ({"text_config__layers": "two"}, "is no configuration of KOSMOS-2"),
        ({"text_config": 7}, "is no configuration of KOSMOS-2"),
        ({"text_config__attention_heads": 5}, "width 32 is no multiple of heads 5"),
        (
            {"text_config__vocab_size": 20},
            "tokens, but the model 20; use the tokenizer that the model was trained with",
        ),
        ({"text_config__ffn_dim": 40}, "decoder.layers.0.ffn.fc1.weight in"),
        ({"vision_config__image_size": 42}, "vision.model.embeddings.position_embedding.weight in"),
    ],
)
def test_settings_of_another_model_are_refused(folder, changes, message):
    settings(folder, **changes)
    assert message in refused(folder)


def test_pickled_weights_are_refused_and_never_opened(folder):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('unpickled')",))

    (folder / "model.safetensors").unlink()
    torch.save(Bomb(), folder / "pytorch_model.bin")
    assert "holds weights only as pytorch_model.bin; only *.safetensors is loaded" in refused(folder)
    shutil.copy(folder / "pytorch_model.bin", folder / "model.safetensors")
    assert "model.safetensors is cut short or no safetensors file" in refused(folder)
    (folder / "model.safetensors").rename(folder / "adapter.safetensors")
    assert "holds neither model.safetensors nor model-*-of-*.safetensors" in refused(folder)


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_truncated_weights_are_refused(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert "model.safetensors is cut short or no safetensors file" in refused(folder)


def test_an_output_layer_of_its_own_is_refused(folder):
    rewrite(folder, lambda w: w.update({"text_model.lm_head.weight": w["text_model.model.embed_tokens.weight"] + 1}))
    assert "has text_model.lm_head.weight unlike its embeddings; in a KOSMOS-2 they are tied" in refused(folder)


def test_a_missing_or_foreign_tokenizer_is_refused(folder):
    path = folder / "tokenizer.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    assert "tokenizer.json is not KOSMOS-2's: it is cut short or no tokenizer" in refused(folder)
    words("bytes").save_pretrained(folder)
    assert "tokenizer.json is not KOSMOS-2's: it lacks <image>; save it with KOSMOS-2's processor" in refused(folder)
    path.write_bytes(whole.replace(b'"<pad>"', b'"<gap>"'))
    assert "its first tokens are <s> <gap> </s> <unk>; KOSMOS-2's are <s> <pad> </s> <unk>" in refused(folder)
    path.unlink()
    assert f"cannot read the tokenizer {path}: No such file or directory; copy it" in refused(folder)


def test_an_image_processor_of_another_size_or_without_settings_is_refused(folder):
    values = json.loads((folder / "processor_config.json").read_text())
    values["image_processor"]["crop_size"] = {"height": 14, "width": 14}
    (folder / "processor_config.json").write_text(json.dumps(values))
    assert "makes (3, 14, 14) of an image, not (3, 28, 28)" in refused(folder)
    (folder / "processor_config.json").unlink()
    assert "has no usable settings of an image processor" in refused(folder)


def test_the_tokenizer_is_what_the_engine_asks_for(tiny):
    tokenizer = Kosmos2Tokenizer.read(tiny / "tokenizer.json", slots=2)
    ids, images = tokenizer.prompt(Prompt("a ", RED, "b"))
    block = [tokenizer.image, *[tokenizer.slot] * 2, tokenizer.image_end]
    assert ids == [0, *tokenizer.encode("a"), *block, *tokenizer.encode("b")]
    assert images == (RED,)
    assert max(ids) < len(tokenizer)


def test_every_weight_of_the_public_size_has_its_place(tiny, tmp_path):
    from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration

    public = Kosmos2Config()
    public.save_pretrained(tmp_path)
    config = kosmos2._config(kosmos2._settings(tmp_path / "config.json"), kosmos2.read(tiny)[1])
    assert (config.vocab_size, config.width, config.layers, config.latents) == (65_037, 2048, 24, 64)
    with torch.device("meta"):
        theirs = {kosmos2._renamed(n): w.shape for n, w in Kosmos2ForConditionalGeneration(public).named_parameters()}
    assert theirs == {name: weight.shape for name, weight in empty(config).named_parameters()}


def test_loading_initialises_nothing(tiny, monkeypatch):
    expected = kosmos2.read(tiny)[0]

    def touched(tensor, *_, **__):
        assert tensor.is_meta
        return tensor

    for name in ("normal_", "xavier_normal_", "xavier_uniform_", "kaiming_uniform_", "zeros_"):
        monkeypatch.setattr(torch.nn.init, name, touched)
    model = kosmos2.read(tiny)[0]
    same_weights(expected, model)
    assert not [name for name, value in (*model.named_parameters(), *model.named_buffers()) if value.is_meta]
    assert model.decoder.output_projection.weight is model.decoder.embed_tokens.weight
