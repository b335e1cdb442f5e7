import { useQuery } from '@tanstack/react-query';
import { ArrowDown, Download, WrapText } from 'lucide-react';
import { useDeferredValue, useMemo, useState } from 'react';
import { api, unwrap } from '../../api/client';
import { ApiError } from '../../api/errors';
import { keys } from '../../api/keys';
import { nameOf } from '../../data/announcer';
import { client } from '../../data/client';
import { signedIn } from '../../data/session';
import { Button, IconButton } from '../../ui/button';
import { Copy } from '../../ui/copy';
import { Select, TextInput } from '../../ui/field';
import { many } from '../../ui/format';
import { Absent, Freshness, Note, Skeleton, StaleFrame } from '../../ui/states';
import { append, EMPTY_LOG, KEPT, type Line, type Log, lastStamp, plain } from './log-lines';
import { LogView, useFollowing } from './log-view';
import css from './logs.module.css';
import type { TabProps } from './page';

type Times = 'local' | 'utc' | 'none';

async function more(id: string, signal: AbortSignal): Promise<Log> {
  const held = client.getQueryData<Log>(keys.logs(id)) ?? EMPTY_LOG;
  const since = lastStamp(held);
  const query = since === null ? { tail: 500 } : { tail: KEPT, since };
  const { data } = await unwrap(
    api.GET('/api/v1/milady/agents/{agentId}/logs', { params: { path: { agentId: id }, query }, signal }),
  );
  return append(held, data.logs);
}

export default function Logs({ agent }: TabProps) {
  const follow = useFollowing();
  const running = agent.status === 'running';
  const query = useQuery({
    queryKey: keys.logs(agent.id),
    queryFn: ({ signal }) => more(agent.id, signal),
    structuralSharing: false,
    staleTime: 0,
    // Who reads further up only wants to know how many lines are new.
    refetchInterval: ({ state }) => {
      if (!running || !signedIn() || state.status === 'error') return false;
      return follow.following ? 2_000 : 10_000;
    },
    enabled: agent.status !== 'pending' && agent.status !== 'stopped',
  });
  const [text, setText] = useState('');
  const [wrap, setWrap] = useState(true);
  const [times, setTimes] = useState<Times>('local');
  const wanted = useDeferredValue(text.trim().toLowerCase());
  const log = query.data ?? EMPTY_LOG;
  const lines = useMemo(
    () => (wanted ? log.lines.filter((line) => !line.gap && line.text.toLowerCase().includes(wanted)) : log.lines),
    [log, wanted],
  );

  if (log.lines.length === 0) {
    if (agent.status === 'pending') return <Note title="No logs yet">It has never been started.</Note>;
    if (agent.status === 'stopped')
      return <Note title="No logs">Logs belong to a container, and a stopped agent has none.</Note>;
    if (query.error instanceof ApiError && query.error.status === 409)
      return <Note title="No logs">{query.error.message}</Note>;
    if (query.error || !query.data) return <Absent query={query} what="Its log" skeleton={<Skeleton lines={6} />} />;
    return <Note title="Its log is empty">What it writes to its standard output appears here.</Note>;
  }
  return (
    <div className={css.logs}>
      <div className={css.tools}>
        <TextInput
          type="search"
          className={css.search}
          aria-label="Only lines with this text"
          placeholder="Only lines with…"
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
        <Select
          className={css.times}
          aria-label="Times"
          value={times}
          onChange={(event) => setTimes(event.target.value as Times)}
        >
          <option value="local">Local time</option>
          <option value="utc">UTC</option>
          <option value="none">No times</option>
        </Select>
        <IconButton
          label={wrap ? 'Do not wrap lines' : 'Wrap lines'}
          aria-pressed={wrap}
          onClick={() => setWrap(!wrap)}
        >
          <WrapText size={16} aria-hidden="true" />
        </IconButton>
        <Copy text={asText(lines)} label="Copy these lines" />
        <IconButton label="Download these lines" onClick={() => download(nameOf(agent), lines)}>
          <Download size={16} aria-hidden="true" />
        </IconButton>
        <span className={css.fresh}>
          <Freshness query={query} />
        </span>
      </div>
      {lines.length === 0 ? (
        <Note title="No line has this text">{many(log.lines.length, 'line')} were searched.</Note>
      ) : (
        <StaleFrame query={query}>
          <LogView lines={lines} wrap={wrap} times={times} follow={follow} dropped={wanted ? 0 : log.dropped} />
        </StaleFrame>
      )}
      {follow.following ? null : (
        <Button small look="primary" className={css.down} onClick={follow.toEnd}>
          <ArrowDown size={14} aria-hidden="true" />{' '}
          {follow.unseen > 0 ? many(follow.unseen, 'new line') : 'To the newest line'}
        </Button>
      )}
    </div>
  );
}

const asText = (lines: readonly Line[]): string =>
  lines.map((line) => `${line.at ?? ''} ${plain(line.text)}`.trim()).join('\n');

function download(name: string, lines: readonly Line[]) {
  const url = URL.createObjectURL(new Blob([`${asText(lines)}\n`], { type: 'text/plain' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = `${name.replace(/[^\p{L}\p{N}._-]+/gu, '-')}.log`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
