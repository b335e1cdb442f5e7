import { describe, expect, test } from 'vitest';
import { GRACE, type Known, landGone, landList, landOne, landPage, NOTHING, type Truth } from './truth';

type Row = { id: string; status: string; error: string | null };
const row = (id: string, status = 'running', error: string | null = null): Row => ({ id, status, error });
const keep = (old: Row, fresh: Row): Row => (JSON.stringify(old) === JSON.stringify(fresh) ? old : fresh);
const list = (truth: Truth<Row>, rows: Row[], at: number, now = at + 1) => landList(truth, rows, at, now, keep);
const ids = (truth: Truth<Row>) => Object.keys(truth.rows).sort().join();
const status = (truth: Truth<Row>, id: string) => (truth.rows[id] as Known<Row> | undefined)?.row.status;

describe('a list', () => {
  test('leaves out a row that it no longer has', () => {
    expect(ids(list(list(NOTHING, [row('a'), row('b')], 0), [row('a')], 10))).toBe('a');
  });
  test('does not overwrite what was asked for later', () => {
    const truth = landOne(list(NOTHING, [row('a', 'provisioning')], 0), row('a'), 50, keep);
    expect(status(list(truth, [row('a', 'provisioning')], 40, 60), 'a')).toBe('running');
  });
  test('clears an error that the server has cleared', () => {
    const truth = list(list(NOTHING, [row('a', 'error', 'no image')], 0), [row('a')], 10);
    expect(truth.rows.a?.row.error).toBeNull();
  });
  test('keeps the identity of a row that did not change', () => {
    const one = list(NOTHING, [row('a')], 0);
    expect(list(one, [row('a')], 10).rows.a?.row).toBe(one.rows.a?.row);
  });
  test('does not bring back a row that was deleted while it was on its way', () => {
    const truth = landGone(list(NOTHING, [row('a'), row('b')], 0), 'a', 50);
    expect(ids(list(truth, [row('a'), row('b')], 40, 60))).toBe('b');
  });
  test('has a row again that was created anew after the deletion', () => {
    const truth = landGone(list(NOTHING, [row('a')], 0), 'a', 50);
    expect(ids(list(truth, [row('a')], 60))).toBe('a');
  });
});

describe('a row that was created here', () => {
  const created = landOne(list(NOTHING, [row('a')], 0), row('b', 'pending'), 10, keep, 10);
  test('stays when a list lacks it that was computed before', () => {
    expect(ids(list(created, [row('a')], 5, 12))).toBe('a,b');
    expect(ids(list(created, [row('a')], 20, 30))).toBe('a,b');
  });
  test('is gone when lists lack it for a minute', () => {
    expect(ids(list(created, [row('a')], GRACE + 11, GRACE + 12))).toBe('a');
  });
  test('is gone at once when it was listed and then is not', () => {
    const listed = list(created, [row('a'), row('b')], 20);
    expect(ids(list(listed, [row('a')], 30))).toBe('a');
  });
});

test('one page concludes nothing from what it lacks', () => {
  expect(ids(landPage(list(NOTHING, [row('a')], 0), [row('b')], 10, keep))).toBe('a,b');
});

test('an older answer about one row is ignored', () => {
  const truth = landOne(landOne(NOTHING as Truth<Row>, row('a'), 20, keep), row('a', 'stopped'), 10, keep);
  expect(status(truth, 'a')).toBe('running');
});

/** A small generator with a seed, so that a failure can be repeated. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** What the answers so far say about each row, by the moment they were asked for. Created rows are out until listed. */
class Oracle {
  private readonly newest = new Map<string, { at: number; row: Row | null }>();
  private readonly unlisted = new Set<string>();
  private listedAt = -1;

  say(id: string, at: number, one: Row | null): void {
    const old = this.newest.get(id);
    // The newest list lacked a row that nothing else was said about.
    if (!old && at < this.listedAt && !this.unlisted.has(id)) this.newest.set(id, { at: this.listedAt, row: null });
    else if (!old || at > old.at) this.newest.set(id, { at, row: one });
  }
  list(rows: Row[], at: number): void {
    for (const one of rows) {
      if (at >= this.listedAt) this.unlisted.delete(one.id);
      this.say(one.id, at, one);
    }
    this.listedAt = Math.max(at, this.listedAt);
    const listed = new Set(rows.map((one) => one.id));
    for (const id of this.newest.keys()) if (!listed.has(id)) this.say(id, at, null);
  }
  created(one: Row, at: number): void {
    if (!this.newest.has(one.id)) this.unlisted.add(one.id);
    this.say(one.id, at, one);
  }
  check(truth: Truth<Row>): void {
    for (const [id, { row: one }] of this.newest) {
      if (!this.unlisted.has(id)) expect([id, truth.rows[id]?.row ?? null]).toEqual([id, one]);
    }
  }
}

/**
 * A server whose rows change, and answers about it that are computed at once but land late, in any order, or never.
 * After each landing, what is known of a row is what the answer that was asked for last says. In the end, one list that
 * is asked for after everything else leaves exactly the server's rows.
 */
describe.each(Array.from({ length: 200 }, (_, seed) => seed))('random interleaving %i', (seed) => {
  test('ends with exactly the rows of the server', () => {
    const pick = random(seed * 7919 + 1);
    const server = new Map<string, Row>();
    let truth: Truth<Row> = NOTHING;
    let clock = 0;
    let created = 0;
    const oracle = new Oracle();
    const onTheWay: (() => void)[] = [];
    const later = (landing: () => void) => {
      if (pick(8) > 0)
        onTheWay.push(() => {
          landing();
          oracle.check(truth);
        });
    };
    const someone = () => [...server.keys()][pick(Math.max(1, server.size))];
    for (let step = 0; step < 120; step += 1) {
      clock += 1 + pick(400);
      const at = clock;
      const id = someone();
      switch (pick(7)) {
        case 0: {
          created += 1;
          const fresh = row(`agent-${created}`, 'pending');
          server.set(fresh.id, fresh);
          later(() => {
            truth = landOne(truth, fresh, at, keep, clock);
            oracle.created(fresh, at);
          });
          break;
        }
        case 1:
        case 2:
          if (id) server.set(id, row(id, ['running', 'stopped', 'provisioning', 'error'][pick(4)]));
          break;
        case 3:
          if (id) {
            server.delete(id);
            later(() => {
              truth = landGone(truth, id, at);
              oracle.say(id, at, null);
            });
          }
          break;
        case 4: {
          const now = id ? server.get(id) : undefined;
          if (now)
            later(() => {
              truth = landOne(truth, now, at, keep);
              oracle.say(now.id, at, now);
            });
          break;
        }
        default: {
          const all = [...server.values()];
          later(() => {
            truth = landList(truth, all, at, clock, keep);
            oracle.list(all, at);
          });
        }
      }
      while (onTheWay.length > pick(4)) onTheWay.splice(pick(onTheWay.length), 1)[0]?.();
    }
    while (onTheWay.length > 0) onTheWay.splice(pick(onTheWay.length), 1)[0]?.();
    clock += GRACE + 1;
    const last = [...server.values()];
    truth = landList(truth, last, clock, clock + 5, keep);
    const known = Object.fromEntries(Object.values(truth.rows).map(({ row: one }) => [one.id, one]));
    expect(known).toEqual(Object.fromEntries(server));
  });
});
