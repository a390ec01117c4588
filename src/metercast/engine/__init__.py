"""How work moves: service, scheduler, queue, worker, executor, writer. The engine sees contracts only."""
