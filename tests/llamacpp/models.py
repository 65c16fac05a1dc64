"""Tiny language models with random weights, as GGUF files: every number is drawn here, nothing is downloaded.

`write_chat` says readable nonsense and stops by itself; `write_embedding` gives vectors; `write_rerank` gives scores.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from gguf.constants import PoolingType
from numpy.typing import NDArray

from tests.llamacpp.vocabulary import CHAT_TEMPLATE, ChatVocabulary, Vocabulary, WordPieces

WIDTH, HEADS, BLOCKS = 64, 4, 2
FEED_FORWARD = 2 * WIDTH
CONTEXT = 4096
BERT_POSITIONS = 512
WORDS_A_TURN = 24

Array = NDArray[np.float32]


class Weights:
    """Random matrices that are the same each time."""

    def __init__(self, writer: gguf.GGUFWriter, seed: int) -> None:
        self.writer = writer
        self.random = np.random.default_rng(seed)

    def draw(self, *shape: int, spread: float) -> Array:
        return self.random.normal(0, spread, shape).astype(np.float32)

    def put(self, name: str, tensor: Array) -> None:
        self.writer.add_tensor(name, tensor)

    def put_drawn(self, name: str, *shape: int, spread: float) -> None:
        self.put(name, self.draw(*shape, spread=spread))

    def put_norm(self, name: str) -> None:
        self.put(f"{name}.weight", np.ones(WIDTH, np.float32))
        self.put(f"{name}.bias", np.zeros(WIDTH, np.float32))


def write_chat(path: Path) -> Path:
    vocabulary = ChatVocabulary.build()
    writer = _writer(path, "llama", vocabulary)
    writer.add_context_length(CONTEXT)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_scores(vocabulary.scores)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.end_of_turn)
    writer.add_pad_token_id(vocabulary.pad)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    weights = Weights(writer, seed=1)
    _chat_ends(weights, vocabulary)
    for block in (f"blk.{number}." for number in range(BLOCKS)):
        weights.put(f"{block}attn_norm.weight", np.ones(WIDTH, np.float32))
        weights.put_drawn(f"{block}attn_q.weight", WIDTH, WIDTH, spread=0.02)
        weights.put_drawn(f"{block}attn_k.weight", WIDTH, WIDTH, spread=0.02)
        weights.put_drawn(f"{block}attn_v.weight", WIDTH, WIDTH, spread=0.3 / WIDTH**0.5)
        weights.put(f"{block}attn_output.weight", _blind(weights.draw(WIDTH, WIDTH, spread=WIDTH**-0.5)))
        weights.put(f"{block}ffn_norm.weight", np.ones(WIDTH, np.float32))
        weights.put_drawn(f"{block}ffn_gate.weight", FEED_FORWARD, WIDTH, spread=0.3 / WIDTH**0.5)
        weights.put_drawn(f"{block}ffn_up.weight", FEED_FORWARD, WIDTH, spread=0.3 / WIDTH**0.5)
        weights.put(
            f"{block}ffn_down.weight", _blind(weights.draw(WIDTH, FEED_FORWARD, spread=0.5 / FEED_FORWARD**0.5))
        )
    return _finish(writer, path)


def _chat_ends(weights: Weights, vocabulary: ChatVocabulary) -> None:
    """Input and output rows that make it say whole words only, and end its turn after WORDS_A_TURN of them or so.

    The first dimension carries the same number through all blocks; by it the output rows get a constant term.
    """
    constant = 10.0
    said_by_norm = constant / np.sqrt((constant**2 + WIDTH - 1) / WIDTH)
    rows = weights.draw(len(vocabulary), WIDTH, spread=1.0)
    rows[:, 0] = constant
    output = weights.draw(len(vocabulary), WIDTH, spread=WIDTH**-0.5)
    output[: vocabulary.first_word, 0] = -60.0 / said_by_norm
    output[vocabulary.first_word :, 0] = 0.0
    output[vocabulary.end_of_turn, :] = 0.0
    words = len(vocabulary) - vocabulary.first_word
    output[vocabulary.end_of_turn, 0] = (np.log(words / WORDS_A_TURN) + 0.5) / said_by_norm
    weights.put("token_embd.weight", rows)
    weights.put("output_norm.weight", np.ones(WIDTH, np.float32))
    weights.put("output.weight", output)


def _blind(matrix: Array) -> Array:
    """The same, not writing to the first dimension."""
    matrix[0, :] = 0.0
    return matrix


def write_embedding(path: Path) -> Path:
    return _write_bert(path, PoolingType.MEAN)


def write_rerank(path: Path) -> Path:
    return _write_bert(path, PoolingType.RANK)


def _write_bert(path: Path, pooling: PoolingType) -> Path:
    vocabulary = WordPieces.build()
    writer = _writer(path, "bert", vocabulary)
    writer.add_context_length(BERT_POSITIONS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(2)
    writer.add_pad_token_id(WordPieces.PAD)
    writer.add_unk_token_id(WordPieces.UNKNOWN)
    writer.add_bos_token_id(WordPieces.CLS)
    writer.add_eos_token_id(WordPieces.SEPARATOR)
    writer.add_sep_token_id(WordPieces.SEPARATOR)
    writer.add_mask_token_id(WordPieces.MASK)
    writer.add_key_value("tokenizer.ggml.cls_token_id", WordPieces.CLS, gguf.GGUFValueType.UINT32)
    weights = Weights(writer, seed=2)
    weights.put_drawn("token_embd.weight", len(vocabulary), WIDTH, spread=1.0)
    weights.put_drawn("token_types.weight", 2, WIDTH, spread=0.02)
    weights.put_drawn("position_embd.weight", BERT_POSITIONS, WIDTH, spread=0.05)
    weights.put_norm("token_embd_norm")
    for block in (f"blk.{number}." for number in range(BLOCKS)):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            _layer(weights, block + name, WIDTH, WIDTH)
        weights.put_norm(f"{block}attn_output_norm")
        _layer(weights, f"{block}ffn_up", FEED_FORWARD, WIDTH)
        _layer(weights, f"{block}ffn_down", WIDTH, FEED_FORWARD)
        weights.put_norm(f"{block}layer_output_norm")
    if pooling is PoolingType.RANK:
        writer.add_classifier_output_labels(["relevance"])
        _layer(weights, "cls", WIDTH, WIDTH, spread=WIDTH**-0.5)
        _layer(weights, "cls.output", 1, WIDTH, spread=1.0)
    return _finish(writer, path)


def _layer(weights: Weights, name: str, rows: int, columns: int, *, spread: float = 0.0) -> None:
    weights.put_drawn(f"{name}.weight", rows, columns, spread=spread or 0.3 / columns**0.5)
    weights.put(f"{name}.bias", np.zeros(rows, np.float32))


def _writer(path: Path, architecture: str, vocabulary: Vocabulary) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_name(path.stem)
    writer.add_description("random weights, for tests")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_vocab_size(len(vocabulary))
    writer.add_token_list(vocabulary.texts)
    writer.add_token_types(vocabulary.types)
    return writer


def _finish(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
