"""The models that actions may name: what each can do and costs, and how to choose."""
