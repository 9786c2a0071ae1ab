"""The suites of the KOSMOS-1 paper, with its numbers of demonstrations."""

from kosmos_eval.task import Suite

KOSMOS1 = Suite("kosmos1")
"""Everything that the paper evaluates, zero-shot (Table 1)."""
LANGUAGE = Suite("kosmos1-language", shots=(0, 1, 4))
"""The language tasks (Table 13)."""
FEW_SHOT = Suite("kosmos1-fewshot", shots=(2, 4, 8))
"""Captions and questions about images after demonstrations (Tables 3 and 5)."""
SYNTHETIC = Suite("synthetic")
"""Every task that has a generated split."""
TRANSFER = Suite("kosmos1-transfer")
"""The tasks before and after language-only instruction tuning (Tables 6 and 14)."""
