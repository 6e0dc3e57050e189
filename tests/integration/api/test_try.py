import time
import db.gauges as g
from db.session import transaction
from tests.support.api import Api
INSERT = """INSERT INTO publisher.publish_command (id, video_id, workspace_id, trigger, correlation_id, due_at, state)
SELECT gen_random_uuid(), n, 1 + n %% 50, 'api', 'x', now() - n * interval '1 second', CASE WHEN n %% 3 = 0 THEN 'waiting' ELSE 'scheduled' END
FROM generate_series(%s, %s) n"""
def test_it(api: Api):
    for k in range(20):
        with transaction(api.engine) as tx:
            tx.execute("SET LOCAL synchronous_commit=off")
            tx.execute(INSERT, (k*50000+1, k*50000+50000))
    print("inserted")
    def show(label):
        for _ in range(3):
            t = time.perf_counter()
            with transaction(api.engine) as tx:
                r = g.read(tx, outlets=["webhooks"], stream_position=0)
            print(label, f"{1000*(time.perf_counter()-t):.1f} ms", r.scheduled, r.waiting, r.due, r.failed, r.oldest_due_seconds, flush=True)
    show("as inserted")
    with api.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c: c.exec_driver_sql("ANALYZE publisher.publish_command")
    show("analyzed")
    with transaction(api.engine) as tx:
        for row in tx.execute("EXPLAIN (ANALYZE, COSTS OFF, SUMMARY OFF) " + g.COMMANDS, {"most": g.MOST}): print(row[0])
    for _ in range(2):
        t = time.perf_counter(); a=api.call("GET","/metrics",None); print(f"scrape {1000*(time.perf_counter()-t):.1f} ms", len(a.text))
    with transaction(api.engine) as tx:
        tx.execute("UPDATE publisher.publish_command SET due_at = now() + interval '1 day' WHERE due_at > now() - interval '20000 seconds'")
    show("20000 moved away")
    assert 0
