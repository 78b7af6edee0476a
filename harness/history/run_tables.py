"""The tables of what runs hold themselves: the run, its requests, its memory, its machine. Data only."""

from __future__ import annotations

from typing import Final

from harness.history.columns import REQUEST, RUN, Table, columns

__all__ = ["ANCHORS", "GUARDS", "REQUESTS", "RESIDENCY", "RUNS"]

RUNS: Final = Table(
    "runs",
    "run",
    (
        RUN,
        *columns(
            "VARCHAR",
            experiment="the experiment that it is a load of (`dyno ab`)",
            command="what made it",
            status="complete, interrupted or failed; NULL: killed, or still at work",
            target="the target, as it was typed",
            engine="its engine",
            build="the engine's build",
            model="the model that it named",
            architecture="the model's architecture",
            quant="the model's quant",
            cache_kind="how its cache works",
            template_sha256="hash of the chat template",
            fidelity="simulate, rehearse, dispatch or no_engine; several in one run with a comma",
            forcing="how replies were forced; several with a comma",
            start="cold or warm: whether the very first request found something in the cache",
            setting="the harness setting; several with a comma",
            work="hash of what was done: sessions or tasks with their contents, and how often",
            facts="JSON: all that must be equal for two runs to be compared, by name",
            settings="JSON: settings of the command",
            system="operating system of the machine",
            cpu="its processor",
            dyno_version="version of dyno",
        ),
        *columns("VARCHAR[]", gpus="GPUs of the machine", notes="what of its files was lost or could not be read"),
        *columns("TIMESTAMP", started_at="when it began, UTC", ended_at="when it was closed, UTC"),
        *columns("BOOLEAN", launched="whether dyno started the engine"),
        *columns(
            "BIGINT",
            context_tokens="context of the engine",
            slots="its slots",
            cores_logical="logical cores of the machine",
            memory_bytes="memory of the machine",
            requests="requests, failed ones too",
            errors="requests that failed",
            dispatches="dispatches that began",
            verified="dispatches that were verified",
            passed="dispatches that passed",
            prompt_tokens="sum over its requests",
            cached_tokens="likewise, what the engine said it reused",
            generated_tokens="likewise",
            lost_tokens="likewise, evaluated again on either side",
            peak_memory_bytes="most that the engine's processes held and could not drop",
        ),
        *columns(
            "DOUBLE",
            lost_s="prefill that the lost tokens took",
            cached_share="cached over prompt tokens",
            prefill_tokens_per_s="evaluated tokens over the engine's time for them",
            decode_tokens_per_s="median over its requests, by the client's clock",
            ttft_s="median time to the first text",
            time_to_success_s="median time of the dispatches that passed",
        ),
    ),
)

REQUESTS: Final = Table(
    "requests",
    "request",
    (
        RUN,
        REQUEST,
        *columns(
            "VARCHAR",
            session="session, or the dispatch that sent it",
            conversation="conversation in the session",
            fidelity="how real it was",
            forcing="how the reply was forced: token_ids, length, none",
            stop_reason="the engine's own word for the end of the reply",
            error_kind="class of the error of a failed request",
            error="its message",
            engine="target that answered, where it is another than the run's",
            cache_class="cold, hit, partial, full_miss, branch or unknown",
            cached_source="where `cached_tokens` was read",
            confidence="observed, inferred or unknown",
            note="what is to be said of the verdict",
        ),
        *columns("TIMESTAMP", sent_at="when it was sent, UTC"),
        *columns("BOOLEAN", continuation="whether it continued a conversation"),
        *columns(
            "BIGINT",
            turn="turn of its session, from 0",
            repeat="which replay of its session, from 0",
            sent_ns="when it was sent, on the run's monotonic clock (as `at_ns` elsewhere)",
            ttft_ns="time to the first text of any kind",
            ttfr_ns="time to the first sign of a reply",
            e2e_ns="time to the end of the reply",
            prefill_ns="prefill by the engine's own time",
            decode_ns="decode by the engine's own time",
            prompt_tokens="the whole prompt",
            cached_tokens="its part that was reused, as the engine says",
            evaluated_tokens="its part that was not",
            generated_tokens="the reply",
            slot="the slot that served it",
            cached_low_tokens="what was reused at least, where it is inferred",
            cached_high_tokens="what was reused at most, likewise",
            lcp_tokens="prefix that it has in common with the best earlier sequence (L)",
            prev_tokens="length of the sequence that it continues",
            reusable_tokens="what an unbounded cache would have held of it",
            lost_prompt_side_tokens="lost because the text changed",
            lost_engine_side_tokens="lost although the text was the same",
            lost_tokens="both together",
            lost_prompt_side_ns="prefill that they took",
            lost_engine_side_ns="likewise",
            lost_ns="both together",
        ),
        *columns(
            "DOUBLE",
            tpot_ns="time per output token after the first",
            prefill_tokens_per_s="evaluated tokens, by the engine's own time",
            decode_tokens_per_s="tokens after the first, by the client's clock",
            engine_decode_tokens_per_s="likewise by the engine's own time",
        ),
    ),
)

RESIDENCY: Final = Table(
    "residency",
    "sample of the engine's memory",
    (
        RUN,
        *columns("VARCHAR", source="where it was read"),
        *columns(
            "BIGINT",
            at_ns="when, on the run's monotonic clock",
            lateness_ns="how late the sampler woke",
            processes="processes that were read; 0: the engine is gone",
            must_have_bytes="memory that cannot be dropped",
            file_bytes="pages of files, which can",
            rss_bytes="resident in all",
            swap_bytes="swapped out",
            gpu_bytes="the engine's part of all GPUs",
        ),
        *columns("DOUBLE", gpu_power_w="power of all GPUs"),
    ),
)

GUARDS: Final = Table(
    "guards",
    "interval at which the machine was watched",
    (
        RUN,
        *columns("BIGINT", at_ns="its end, on the run's monotonic clock", interval_ns="its length"),
        *columns("DOUBLE", foreign_cpu="CPU time of other processes, share of all cores", steal="of the hypervisor"),
        *columns(
            "BIGINT",
            swap_in_bytes="read back from swap",
            major_faults="page faults that read a disk",
            lateness_ns="how late the watcher woke",
        ),
    ),
)

ANCHORS: Final = Table(
    "anchors",
    "fixed request that shows drift",
    (
        RUN,
        *columns("BIGINT", at_ns="when, on the run's monotonic clock"),
        *columns("DOUBLE", prefill_tokens_per_s="its prefill rate", decode_tokens_per_s="its decode rate"),
    ),
)
