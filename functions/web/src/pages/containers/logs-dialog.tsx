import { useQuery } from '@tanstack/react-query';
import { RefreshCw } from 'lucide-react';
import { useMemo, useState } from 'react';
import { api, newKey, unwrap } from '../../api/client';
import { client } from '../../data/client';
import { Button } from '../../ui/button';
import { Copy } from '../../ui/copy';
import { Dialog } from '../../ui/dialog';
import { Field, Select, TextInput } from '../../ui/field';
import { Filters } from '../../ui/filters';
import { many } from '../../ui/format';
import { Freshness, Load, Note } from '../../ui/states';
import { append, EMPTY_LOG, plain } from '../agent/log-lines';
import { LogView, useFollowing } from '../agent/log-view';
import { perform } from './operations';
import css from './page.module.css';
import type { ContainerView } from './view';

const SINCE = { '': 'Any time', '10m': '10 minutes', '1h': '1 hour', '24h': '24 hours' } as const;

async function read(view: ContainerView, lines: number, since: string, signal: AbortSignal): Promise<string> {
  if (view.agentId === null)
    return (await perform('logs', view, newKey(), { lines, ...(since ? { since } : {}) })).logs ?? '';
  const { data } = await unwrap(
    api.GET('/api/v1/admin/docker-containers/{containerId}/logs', {
      params: { path: { containerId: view.agentId }, query: { lines, ...(since ? { since } : {}) } },
      signal,
    }),
  );
  return data.logs;
}

/** The end of a container's log. It is read when it is opened and when it is asked for. */
export function LogsDialog({ view, onClose }: { view: ContainerView; onClose: () => void }) {
  const [lines, setLines] = useState(200);
  const [since, setSince] = useState('');
  const [text, setText] = useState('');
  const query = useQuery(
    {
      queryKey: ['container-logs', view.id, lines, since],
      queryFn: ({ signal }) => read(view, lines, since, signal),
      refetchOnWindowFocus: false,
      placeholderData: (before) => before,
      gcTime: 0,
    },
    client,
  );
  return (
    <Dialog open wide onClose={onClose} title={`Log of ${view.name} on ${view.nodeId}`}>
      <Filters label="Narrow the log">
        <Field label="Lines">
          <Select value={lines} onChange={(event) => setLines(Number(event.target.value))}>
            {[200, 1000, 5000].map((count) => (
              <option key={count} value={count}>
                the last {count}
              </option>
            ))}
          </Select>
        </Field>
        <Field label="Not older than">
          <Select value={since} onChange={(event) => setSince(event.target.value)}>
            {Object.entries(SINCE).map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </Select>
        </Field>
        <Field label="Contains">
          <TextInput type="search" value={text} onChange={(event) => setText(event.target.value)} />
        </Field>
        <Button busy={query.isFetching} onClick={() => void query.refetch()}>
          <RefreshCw size={14} aria-hidden="true" /> Read again
        </Button>
      </Filters>
      <Load query={query} what="This container">
        {(log) => <Text key={query.dataUpdatedAt} log={log} filter={text} />}
      </Load>
      <div className="row">
        <Freshness query={query} />
        <span className="muted">Reading it is written to the audit log as you.</span>
      </div>
    </Dialog>
  );
}

/** With a key for each reading: lines are known by their numbers there, which begin anew. */
function Text({ log, filter }: { log: string; filter: string }) {
  const follow = useFollowing();
  const all = useMemo(() => append(EMPTY_LOG, log).lines, [log]);
  const shown = useMemo(() => {
    const wanted = filter.trim().toLowerCase();
    return wanted === '' ? all : all.filter((line) => plain(line.text).toLowerCase().includes(wanted));
  }, [all, filter]);
  if (all.length === 0)
    return (
      <Note title="The log is empty">
        <p>The container has written nothing in this time.</p>
      </Note>
    );
  return (
    <div>
      <div className={css.logHead}>
        <span className="muted">
          {filter.trim() ? `${shown.length} of ${many(all.length, 'line')}` : many(all.length, 'line')}
        </span>
        <Copy
          text={shown.map((line) => `${line.at ?? ''} ${plain(line.text)}`.trim()).join('\n')}
          label="Copy these lines"
        />
      </div>
      <LogView lines={shown} wrap times="local" follow={follow} dropped={0} />
    </div>
  );
}
