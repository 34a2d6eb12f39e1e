"""fliqd beside other schedulers and queues: same work, same sink, durability named."""
