"""One builder a source: upstream files in, :class:`loco.tasks.data.TaskData` out."""
