"""Language models: one small protocol, a client for OpenAI-compatible servers, a fake beside it.

protocol       ChatRequest, ChatModel
sse            server-sent events out of bytes, pure
breaker        a circuit breaker, pure
openai_client  one endpoint over HTTP
chain          several endpoints, in order or raced
warming        keeps connections open while there are calls
fake           answers from a script; says that it is a fake
build          settings -> model
"""
