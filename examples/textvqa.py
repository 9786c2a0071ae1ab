"""TextVQA: questions about the text in a picture (textvqa.org, CC BY 4.0): TextVQA_0.5.1_{train,val}.json."""

from collections import Counter
from dataclasses import dataclass

from kosmos_eval import Generate, Image, Prompt, Sample, Score, Source, Task, few_shot, register
from kosmos_eval.metrics import vqa
from kosmos_eval.source import existing, read_json


@register("textvqa")
@dataclass(frozen=True)
class TextVQA(Task):
    """Questions about the text in a picture, ten human answers each."""

    source: Source = Source()

    def samples(self):
        return self.questions(self.source.split or "val")

    def examples(self):
        return self.questions("train")

    def questions(self, split):
        file, images = self.source.folder() / f"TextVQA_0.5.1_{split}.json", self.source.folder() / "train_images"
        rows = read_json(file, keys=["data"])["data"]
        existing(images, (f"{row['image_id']}.jpg" for row in rows), named_by=file)
        return [self.sample(f"{split}/{number}", row, images) for number, row in enumerate(rows)]

    def sample(self, id, row, images):
        prompt = Prompt(Image(images / f"{row['image_id']}.jpg"), f"Question: {row['question']} Answer:")
        (common, _), *_ = Counter(row["answers"]).most_common(1)
        return Sample(id, prompt, common, tuple(row["answers"]), group=row["image_id"])

    def requests(self, sample, shots):
        return [Generate(few_shot(sample, shots), max_tokens=10, stop=("\n",))]

    def score(self, sample, outputs):
        answer = outputs[0].text.strip()
        return Score({"vqa_accuracy": vqa.accuracy(answer, sample.references)}, answer)
