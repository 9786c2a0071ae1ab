"""The synthetic splits: generated, small, deterministic; every bundled task runs on them without a download.

A recipe is a function of a split that yields rows, most of them endlessly, with the columns that official
files have; an image is ``{"bytes": png, "path": None}``, which ``datasets.Image(decode=False)`` stores as it is.

- ``scene_captions.captions``: one to four coloured shapes with five reference captions (COCO captions)
- ``scene_questions.questions``: the same scenes, a question and ten answers (VQAv2)
- ``opinions.rows``: short opinions drawn as pictures (Rendered SST-2)
- ``matrices.rows``: Raven matrices of 2 x 2 and 3 x 3 panels (Raven IQ)
- ``digits.rows``: handwritten digits of the UCI repository (ImageNet)
- ``pages.rows``: web pages of a shop with questions (WebSRC)
- ``creatures.rows``: pairs of creatures with descriptions (classification with descriptions)
- ``new_words.rows``: invented names for things never seen; only the demonstrations can answer

Train and test never share content, whatever the seed: a hash of what an item shows decides its side (``recipe.side``).
"""
