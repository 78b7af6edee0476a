"""What to change so that a cause goes away, on this engine or in this agent; and what else that would change. Data.

A lever that dyno can pull itself says how: `options` of the target (launch settings), `parameters` of the request body,
or a `rewrite` of the session that stands for a change of the harness (`harness.fixing.rewrites`). Others are words.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from backends.base import JsonObject

__all__ = ["REWRITES", "Lever", "Rewrite", "levers_of"]

Rewrite = Literal["freeze_system", "keep_tools", "keep_reasoning", "keep_arguments", "append_only"]
REWRITES: Final[tuple[Rewrite, ...]] = (
    "freeze_system",
    "keep_tools",
    "keep_reasoning",
    "keep_arguments",
    "append_only",
)

Where = Literal["agent", "server", "template", "proxy"]


class Lever(msgspec.Struct, frozen=True):
    """One thing to change: `text` says what to do, `also` what else it would change.

    `where` is whose setting it is. `options`, `parameters` and `rewrite` are what dyno sets to try it; empty where only
    the user can.
    """

    text: str
    where: Where
    also: str
    options: dict[str, str] = {}
    parameters: JsonObject = {}
    rewrite: Rewrite | None = None

    @property
    def testable(self) -> bool:
        """Whether dyno can pull it and measure again."""
        return bool(self.options or self.parameters or self.rewrite)


_LLAMA_SERVER: Final = ("llama-server",)
_LOCAL_LLAMA: Final = ("llama-server", "llama-swap", "ollama", "lmstudio")

_FREEZE = Lever(
    "Keep the value out of the system prompt: put it into the newest user message, or fix it when a session starts.",
    "agent",
    "The model sees the value of the moment only where it is put.",
    rewrite="freeze_system",
)
_KEEP_TOOLS = Lever(
    "Send the same tools in the same order, with their keys in the same order, from the first request on.",
    "agent",
    "Tools that come later have to be there from the start, or wait for a new session.",
    rewrite="keep_tools",
)
_KEEP_REASONING = Lever(
    "Send the model's reasoning back with the history (`reasoning_content`).",
    "agent",
    "Prompts grow by the reasoning; some models were trained without earlier reasoning in the prompt.",
    rewrite="keep_reasoning",
)
_APPEND = Lever(
    "Only append to the history; compact rarely, all at once, and by a model that has a slot of its own.",
    "agent",
    "Prompts grow until they are compacted, and need a larger context.",
    rewrite="append_only",
)

_ANY: Final[dict[str, tuple[Lever, ...]]] = {
    "P1": (_FREEZE,),
    "P2": (
        _FREEZE,
        Lever(
            "In Claude Code, set CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS=1.",
            "agent",
            "The agent no longer knows the state of the repository unless it asks.",
        ),
    ),
    "P3": (
        Lever(
            "Set CLAUDE_CODE_ATTRIBUTION_HEADER=0 in the agent's environment.",
            "agent",
            "Nothing that the model sees.",
            rewrite="freeze_system",
        ),
    ),
    "P4": (
        Lever(
            "Put reminders only into the newest message, and leave them where they were sent.",
            "agent",
            "Old reminders stay in the history.",
            rewrite="append_only",
        ),
    ),
    "P5": (
        _FREEZE,
        Lever(
            "Write memories and metadata into the newest message instead of earlier ones.",
            "agent",
            "They are further from the start of the prompt.",
            rewrite="append_only",
        ),
    ),
    "P6": (_KEEP_TOOLS,),
    "P7": (_KEEP_TOOLS,),
    "P8": (
        Lever(
            "Send a tool call's arguments back as the very text that the model wrote.",
            "agent",
            "Nothing that the model sees, but malformed arguments stay malformed.",
            rewrite="keep_arguments",
        ),
    ),
    "P9": (
        _KEEP_REASONING,
        Lever(
            "Use a template that keeps earlier reasoning (`preserve_thinking`; llama-server: --reasoning-preserve).",
            "template",
            "Prompts grow by the reasoning.",
        ),
    ),
    "P10": (
        Lever(
            "Let the agent send the reply back exactly as it came, with its white space.",
            "agent",
            "Nothing that the model sees.",
        ),
    ),
    "P11": (_APPEND,),
    "P12": (Lever("Encode an image once and send the same bytes again.", "agent", "Nothing.", rewrite="append_only"),),
    "P13": (
        Lever(
            "Let only one of agent and server add the begin-of-text token.",
            "server",
            "Prompts lose a doubled token, which models were not trained on.",
        ),
    ),
    "P14": (
        Lever(
            "Take the proxy's rewriting out (llama-swap: setParams, stripParams), or send requests as it writes them.",
            "proxy",
            "The defaults that the proxy sets no longer apply.",
        ),
    ),
    "E4": (
        Lever(
            "Send one request after the other, or give every agent a slot of its own.", "agent", "Less runs at once."
        ),
    ),
    "E8": (
        Lever(
            "Keep the model loaded (Ollama: OLLAMA_KEEP_ALIVE, LM Studio: JIT time-out, llama-swap: ttl), and send the "
            "same options with every request.",
            "server",
            "Its memory stays taken.",
        ),
    ),
    "E9": (Lever("Use one adapter in a conversation.", "agent", "Adapters cannot be mixed turn by turn."),),
    "E12": (
        Lever(
            "Let requests finish their prefill before they are cancelled; raise the client's time-out.", "agent", "–"
        ),
    ),
    "E13": (
        Lever(
            "Switch prompt caching on (cache_prompt).",
            "server",
            "Replies may differ in the last digits of their probabilities.",
            parameters={"cache_prompt": True},
        ),
    ),
    "E14": (Lever("Send no seed.", "agent", "Replies are no longer repeatable by seed.", parameters={"seed": None}),),
    "E15": (),
    "E20": (_KEEP_TOOLS, _FREEZE),
}

_ON_LLAMA_SERVER: Final[dict[str, tuple[Lever, ...]]] = {
    "E1": (
        Lever(
            "Give the server more slots (--parallel 4).",
            "server",
            "Without a shared KV cache each slot has a part of the context.",
            options={"slots": "4", "kv_unified": "true"},
        ),
        Lever(
            "Let the server keep earlier prompts in main memory (--cache-ram 8192).",
            "server",
            "Up to 8 GiB of main memory.",
            options={"cache_ram": "8192"},
        ),
    ),
    "E2": (
        Lever(
            "Ask for more likeness before a slot is shared (--slot-prompt-similarity 0.5).",
            "server",
            "Other conversations may find their slot less often: measure.",
            options={"slot_prompt_similarity": "0.5"},
        ),
        Lever(
            "Pin each agent to a slot (id_slot), with --no-cache-idle-slots.",
            "agent",
            "As many agents as slots, and no sharing between them.",
        ),
    ),
    "E3": (
        Lever(
            "Start the server with --no-cache-idle-slots.",
            "server",
            "Idle conversations are no longer saved to main memory.",
            options={"cache_idle_slots": "false"},
        ),
    ),
    "E5": (
        Lever(
            "Keep the whole cache of sliding-window layers (--swa-full).",
            "server",
            "The KV cache takes more memory; of no use for recurrent models.",
            options={"swa_full": "true"},
        ),
        Lever(
            "Allow checkpoints (--ctx-checkpoints 32).",
            "server",
            "Main memory for each checkpoint.",
            options={"ctx_checkpoints": "32"},
        ),
    ),
    "E6": (
        Lever(
            "Take checkpoints more often (--checkpoint-min-step 256).",
            "server",
            "More main memory, and a little time for each checkpoint.",
            options={"checkpoint_min_step": "256"},
        ),
        Lever(
            "Keep the whole cache of sliding-window layers (--swa-full).",
            "server",
            "The KV cache takes more memory; of no use for recurrent models.",
            options={"swa_full": "true"},
        ),
    ),
    "E7": (
        Lever(
            "Give the store of earlier prompts more memory (--cache-ram 16384).",
            "server",
            "That much more main memory.",
            options={"cache_ram": "16384"},
        ),
    ),
    "E10": (Lever("Give the server a larger context (--ctx-size).", "server", "The KV cache takes more memory."),),
    "E17": (
        Lever(
            "Give the shared KV cache more room (--ctx-size), or fewer slots.",
            "server",
            "More memory, or fewer conversations at once.",
        ),
    ),
    "E19": (
        Lever(
            "Ask for less likeness before a slot is shared (--slot-prompt-similarity 0.1).",
            "server",
            "A sub-agent may then take the main agent's slot: measure.",
            options={"slot_prompt_similarity": "0.1"},
        ),
    ),
}

_ONE_SEQUENCE: Final = Lever(
    "Use a server with several slots (llama-server) for agents with side calls.",
    "server",
    "The model is served by another program.",
)


def levers_of(code: str, engine: str) -> tuple[Lever, ...]:
    """What to change against a cause, the lever that is most worth trying first; empty where none is known."""
    own = _ON_LLAMA_SERVER.get(code, ()) if engine in _LLAMA_SERVER else ()
    if not own and code in ("E1", "E2", "E5", "E6"):
        own = (_ONE_SEQUENCE,)
    return (*own, *_ANY.get(code, ()))
