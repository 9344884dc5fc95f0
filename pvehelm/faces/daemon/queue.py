"""The queue: several daemons that share a PostgreSQL store share the work, through procrastinate in the same database.

Every daemon puts what is due into the queue; a release that waits there or is worked on is not put in twice. A daemon
that no longer says that it lives loses its work to the others. Needs the extra ``postgres``.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from pvehelm.errors import PvehelmError, StoreError
from pvehelm.faces.daemon.daemon import Daemon
from pvehelm.release.release import ReleaseKey

if TYPE_CHECKING:
    import procrastinate

# So many heartbeats may be missing before a worker counts as dead.
MISSING = 3
# Another daemon may make the queue's tables at the same moment.
SETUP = 60.0


def is_shared(url: str) -> bool:
    """Whether the store at a URL can be worked on by several daemons through a queue."""
    return url.startswith(("postgresql://", "postgres://"))


def errand(daemon: Daemon, key: ReleaseKey) -> dict[str, Any]:
    """What the queue keeps of work on a release: which one it is, and whether it follows a repository. How is a matter
    of each daemon's own files; what they say (values, what is allowed) has no place in the database."""
    return {"key": key.to_json(), "sync": key in daemon.syncs}


class Shared:
    """A daemon among others. ``url`` is the store's."""

    def __init__(self, daemon: Daemon, url: str) -> None:
        self.daemon = daemon
        self.url = url
        # PostgreSQL's channels have names of at most 63 bytes.
        self.queue = "pvehelm-" + hashlib.sha256(daemon.ctx.cluster.encode()).hexdigest()[:16]

    async def run(self) -> None:
        """Until the daemon is stopped."""
        daemon = self.daemon
        pause = 0.5
        while not daemon.stopping.is_set():
            try:
                async with self._opened() as app:
                    await self._serve(app)
            except Exception as error:
                if isinstance(error, PvehelmError) and not isinstance(error, StoreError):
                    raise
                # The database went away; it comes back, and so do we.
                why = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
                if "queue" not in daemon.trouble:
                    daemon.log(f"the queue cannot be used: {why}", {"result": "failed"})
                daemon.trouble["queue"] = why
                with suppress(TimeoutError):
                    await asyncio.wait_for(daemon.stopping.wait(), pause)
                pause = min(pause * 2, 15.0)
        await daemon.webhooks.close()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[procrastinate.App]:
        try:
            import procrastinate
        except ImportError:
            hint = "pip install 'pvehelm[postgres]'"
            raise PvehelmError(
                "several workers on one store need procrastinate, which is not there", hint=hint
            ) from None
        # What they would print by themselves when the server is away is told in our own words.
        for name in ("psycopg.pool", "procrastinate"):
            logging.getLogger(name).addHandler(logging.NullHandler())
        connector = procrastinate.PsycopgConnector(
            conninfo=self.url, min_size=1, max_size=4, kwargs={"client_encoding": "utf8"}
        )
        app = procrastinate.App(connector=connector)
        async with app.open_async():
            with self.daemon.ctx.store.hold("queue:setup", purpose="setup", wait=SETUP):
                if not await app.check_connection_async():
                    await app.schema_manager.apply_schema_async()
            yield app

    async def _serve(self, app: procrastinate.App) -> None:
        daemon, beat = self.daemon, self.daemon.settings.heartbeat

        @app.task(name="reconcile", queue=self.queue)
        async def work(**given: Any) -> None:
            await self._work(given)

        worker = asyncio.ensure_future(
            app.run_worker_async(
                queues=[self.queue],
                concurrency=daemon.settings.concurrency,
                delete_jobs="always",
                install_signal_handlers=False,
                update_heartbeat_interval=beat,
                stalled_worker_timeout=beat * MISSING,
                fetch_job_polling_interval=daemon.tick,
            )
        )
        feeder = asyncio.ensure_future(self._feed(app, work))
        stop = asyncio.ensure_future(daemon.stopping.wait())
        try:
            await asyncio.wait([worker, feeder, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (feeder, stop):
                task.cancel()
            # Its jobs run to their end; ``daemon.stopping`` makes that soon.
            worker.cancel()
            done = await asyncio.gather(worker, feeder, stop, return_exceptions=True)
        for error in done:
            if isinstance(error, Exception):
                raise error

    async def _feed(self, app: procrastinate.App, work: Any) -> None:
        """Put in what is due, and once more what a dead worker had begun."""
        from procrastinate import exceptions, jobs

        daemon = self.daemon
        while True:
            for job in await app.job_manager.get_stalled_jobs(
                queue=self.queue, seconds_since_heartbeat=daemon.settings.heartbeat * MISSING
            ):
                daemon.log(f"taken over from a worker that is gone: {job.lock}", {"result": "taken-over"})
                try:
                    await app.job_manager.retry_job(job)
                except exceptions.ProcrastinateException:
                    # It was put in once more already, or another daemon was faster.
                    with suppress(exceptions.ProcrastinateException):
                        await app.job_manager.finish_job(job, status=jobs.Status.FAILED, delete_job=True)
            daemon.trouble.pop("queue", None)
            for key in daemon.look():
                name = f"{key.cluster}/{key}"
                with suppress(exceptions.AlreadyEnqueued):
                    await work.configure(lock=name, queueing_lock=name).defer_async(**errand(daemon, key))
            await asyncio.sleep(daemon.tick)

    async def _work(self, given: dict[str, Any]) -> None:
        daemon = self.daemon
        key = ReleaseKey.from_json(given["key"])
        # Another worker may have been there between this job's being put in and its turn.
        if daemon.stopping.is_set() or not daemon.is_due(key):
            return
        if given.get("sync") and key not in daemon.syncs:
            # It stays due, so one of those that know it gets it the next time.
            why = "another daemon follows a repository for it, of which the files of this one say nothing"
            daemon.log(f"{key}: {why}", {"result": "held"})
            return
        await daemon.work(key)
