"""A tiny random GPT-2 and small data sets in the current folder, to try the language pages without a network.

    python tiny_language_data.py

They have the names of the real ones, so that examples written for those run on them: ``gpt2``,
``HuggingFaceFW/fineweb``, ``wikitext/wikitext-103-v1``. Remove the folders to get the real ones.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

END = "<|endoftext|>"
CARD = """---
configs:
- config_name: wikitext-103-v1
  data_files: wikitext-103-v1/*.parquet
---
"""


def main() -> None:
    paragraphs = [p.strip() for text in topics.values() for p in text.split("\n\n") if p.strip()]
    texts = ["Hello world", "The capital of France is Paris.", *islice(paragraphs, 200)]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(texts[:2] * 100 + texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=END, eos_token=END)
    tokenizer.save_pretrained("gpt2")
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=24, n_head=2, **ends))
    model.save_pretrained("gpt2")
    _write("HuggingFaceFW/fineweb/train.parquet", texts + ["Hello world"] * (25000 - len(texts)))
    _write("wikitext/wikitext-103-v1/train.parquet", ["", *texts[:3]] * 250)
    Path("wikitext/README.md").write_text(CARD, "utf-8")


def _write(name: str, texts: list[str]) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": texts, "id": [f"{i:05}" for i in range(len(texts))]}), path)


if __name__ == "__main__":
    main()
