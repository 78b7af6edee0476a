"""Score a candidate against a reference: drive their scorers over the chunks of a text. It decides nothing.

The reference is evaluated once and kept in a folder; it is gone from memory when the candidates are loaded. A type of
KV cache is a candidate like any other: a target with `kv=q8_0`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from backends.abilities import Scorer
from profiler.quality import reference_file
from profiler.quality.base import ChunkScores, Estimate
from profiler.quality.chunks import Chunks
from profiler.quality.divergence import Logits, score_blocks
from profiler.quality.errors import QualityError
from profiler.quality.reference_file import Key, Reference
from profiler.quality.summary import mean

BLOCK_BYTES = 256 * 2**20
"""The most logits that are handed over at once: 436 tokens of a vocabulary of 150,000, more than a chunk of 512 has."""

FLOOR_CHUNKS = 2


def key_of(scorer: Scorer, chunks: Chunks, files: tuple[Path, ...]) -> Key:
    """What a reference is of: this model (`files` are all of its files), as it is loaded, on these chunks.

    Raises:
        QualityError: a file cannot be read.
    """
    model_bytes, sha256 = reference_file.digest(files)
    facts = scorer.facts()
    return Key(
        model=facts.model,
        model_bytes=model_bytes,
        model_sha256=sha256,
        engine=facts.engine,
        build=facts.build,
        settings=facts.settings,
        text_sha256=chunks.sha256,
        chunks=len(chunks),
        chunk_tokens=chunks.token_ids.shape[1],
        scored_tokens=chunks.scored_tokens,
    )


def reference_of(scorer: Scorer, chunks: Chunks, files: tuple[Path, ...], folder: Path) -> Reference:
    """The kept log-probabilities of a model on these chunks; evaluated now if they are not in the folder.

    Raises:
        QualityError: a file cannot be read or written.
        EngineError: the model could not be evaluated.
    """
    key = key_of(scorer, chunks, files)
    found = reference_file.kept(folder, key)
    if found is not None:
        return found
    numbered = enumerate(chunk_blocks(scorer, chunks))
    blocks = ((number, block) for number, of_chunk in numbered for block in of_chunk if len(block))
    return reference_file.write(folder / key.file_name, key, blocks)


def scores(scorer: Scorer, chunks: Chunks, reference: Reference) -> Iterator[ChunkScores]:
    """The scores of each chunk against a reference that was made of the same chunks.

    Raises:
        QualityError: the reference is of other chunks or of another vocabulary, or it is damaged.
        EngineError: the model could not be evaluated.
    """
    if reference.header.key.text_sha256 != chunks.sha256:
        raise QualityError("the reference was made of another text or other chunks", hint="make it of this text")
    for number, candidate in enumerate(chunk_blocks(scorer, chunks)):
        yield score_blocks(reference.blocks(number), candidate, chunks.targets[number])


def noise_floor(scorer: Scorer, chunks: Chunks, *, count: int = FLOOR_CHUNKS) -> Estimate:
    """The mean KLD of a model from itself, evaluated in batches against token by token, on the first chunks.

    The engine rounds differently in the two (a CPU quantises activations in blocks of the batch), although nothing of
    the model differs: what a quant loses is not known more finely than this.

    Raises:
        EngineError: the model could not be evaluated.
    """
    few = chunks.head(count)
    found: list[ChunkScores] = []
    # One chunk after the other, so that no more than one chunk's logits are kept.
    for number in range(len(few)):
        one = Chunks(few.token_ids[number : number + 1])
        batched = [block.copy() for of_chunk in chunk_blocks(scorer, one) for block in of_chunk]
        single = next(chunk_blocks(scorer, one, batch_tokens=1))
        found.append(score_blocks(batched, single, one.targets[0]))
    return mean(found, lambda chunk: chunk.kld)


def chunk_blocks(scorer: Scorer, chunks: Chunks, *, batch_tokens: int | None = None) -> Iterator[Iterator[Logits]]:
    """For each chunk the logits of its scored tokens, in blocks; each is to be used before the next is asked for."""
    arrays = scorer.logits(chunks.lists(), chunks.first, batch_tokens=batch_tokens, block_bytes=BLOCK_BYTES)
    for _ in range(len(chunks)):
        of_one = _of_one(arrays, chunks.scored_tokens)
        yield of_one
        for _ in of_one:
            pass  # What was not looked at must not be taken for the next chunk's.


def _of_one(arrays: Iterator[Logits], scored: int) -> Iterator[Logits]:
    """The arrays of one chunk; the row of its last token, which nothing follows, is read and not given on."""
    left = scored + 1
    while left:
        block = next(arrays)
        left -= len(block)
        yield block if left else block[:-1]
