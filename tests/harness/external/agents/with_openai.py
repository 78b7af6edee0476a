"""A small external agent over the `openai` client, which finds its address by itself: a chat, then three responses."""

import sys
from typing import Any

import openai

client = openai.OpenAI(max_retries=0)
question = sys.argv[1]
model = sys.argv[2]
reply = client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": question}], max_tokens=40, temperature=0
)
print(reply.choices[0].message.content)

tool: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather of a city on a day.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "day": {"type": "string"}}},
    "strict": False,
}
history: list[Any] = [{"role": "user", "content": question}]
said = ""
for _ in range(3):
    response = client.responses.create(
        model=model,
        instructions="You are a helpful assistant.",
        input=history,
        tools=[tool],
        max_output_tokens=60,
        temperature=0,
    )
    for item in response.output:
        history.append(item.model_dump(exclude_none=True))
        if item.type == "function_call":
            result = {"type": "function_call_output", "call_id": item.call_id, "output": '{"weather": "sunny"}'}
            history.append(result)
    said = response.output_text
    if response.output[-1].type != "function_call":
        break
print(said)
