import { RefreshCw } from 'lucide-react';
import { useEffect, useState } from 'react';
import { ApiError, inShort, reason } from '../api/errors';
import { toServer, useNow } from '../data/clock';
import { useOnline } from '../data/online';
import { Button, ButtonLink } from './button';
import { Copy } from './copy';
import { ago } from './format';
import css from './states.module.css';
import { Status, type Tone } from './status';
import { Moment } from './time';

/** What a page shows of a query. All of TanStack's query results fit. */
export type QueryState<T> = {
  readonly data: T | undefined;
  readonly error: Error | null;
  readonly isPending: boolean;
  readonly isFetching: boolean;
  readonly fetchStatus: 'fetching' | 'paused' | 'idle';
  readonly dataUpdatedAt: number;
  readonly failureCount: number;
  readonly failureReason: Error | null;
  readonly refetch: () => unknown;
};

/** Appears only after 150 ms: an answer that is quicker must not flicker. */
export function Skeleton({ lines = 3, height = '1rem' }: { lines?: number; height?: string }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 150);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div className={css.skeleton} aria-busy="true" data-late={late}>
      <span className="unseen">Loading</span>
      {Array.from({ length: lines }, (_, line) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: lines have no identity
        <div key={line} className={css.bone} style={{ height, width: `${94 - ((line * 23) % 40)}%` }} />
      ))}
    </div>
  );
}

type NoteProps = {
  readonly tone?: Tone;
  readonly title: string;
  readonly children?: React.ReactNode;
  readonly actions?: React.ReactNode;
};

/** One designed shape for everything that is not data: empty, refused, gone, failed. */
export function Note({ tone = 'off', title, children, actions }: NoteProps) {
  return (
    <div className={css.note} role={tone === 'bad' ? 'alert' : undefined}>
      <h2>
        <Status tone={tone}>{title}</Status>
      </h2>
      {children ? <div className={css.text}>{children}</div> : null}
      {actions ? <div className="row">{actions}</div> : null}
    </div>
  );
}

export function RequestId({ id }: { id: string | null }) {
  if (!id) return null;
  return (
    <span className={css.request}>
      Request <code>{id.length > 13 ? `${id.slice(0, 8)}…` : id}</code>{' '}
      <Copy text={id} label="Copy the request's identifier" />
    </span>
  );
}

type FailureProps = {
  readonly error: unknown;
  readonly retry?: (() => unknown) | undefined;
  readonly what?: string | undefined;
};

/** Says that a whole page or block failed, and what the reader can do about it. */
export function Failure({ error, retry, what = 'This' }: FailureProps) {
  const status = error instanceof ApiError ? error.status : 0;
  const id = error instanceof ApiError ? error.requestId : null;
  if (status === 403)
    return (
      <Note
        tone="off"
        title="You are not allowed to see this"
        actions={<ButtonLink href="/account">What you may do</ButtonLink>}
      >
        <p>{reason(error)}</p>
        <RequestId id={id} />
      </Note>
    );
  if (status === 404)
    return (
      <Note tone="off" title={`${what} was not found`} actions={<ButtonLink href="/agents">Go to agents</ButtonLink>}>
        <p>It was deleted, or it belongs to another organization.</p>
      </Note>
    );
  return (
    <Note
      tone="bad"
      title={
        error instanceof ApiError && error.kind === 'offline' ? 'This device is offline' : 'This could not be loaded'
      }
      actions={
        retry ? (
          <Button onClick={() => void retry()}>
            <RefreshCw size={14} aria-hidden="true" /> Try again
          </Button>
        ) : null
      }
    >
      <p>{reason(error)}</p>
      <RequestId id={id} />
    </Note>
  );
}

/** "as of 14:02:11"; when answers stop coming, how old this is, why, and what happens next. */
export function Freshness({ query }: { query: QueryState<unknown> }) {
  const now = useNow(1);
  const online = useOnline();
  if (!query.dataUpdatedAt) return null;
  const at = toServer(query.dataUpdatedAt);
  if (!isStale(query) && online)
    return (
      <span className={css.fresh} data-asking={query.isFetching || undefined}>
        as of <Moment at={at} seconds />
      </span>
    );
  const why = online ? inShort(query.failureReason ?? query.error) : 'this device is offline';
  return (
    <span className={css.stale} role="status">
      <Status tone="silent">
        Last answer {ago(now - at) === 'now' ? 'a moment' : (ago(now - at) ?? 'more than a day')} ago: {why}
        {online && query.isFetching ? ', trying again' : ''}
      </Status>
      {online && !query.isFetching ? (
        <Button small look="quiet" onClick={() => void query.refetch()}>
          Try again
        </Button>
      ) : null}
    </span>
  );
}

export const isStale = (query: QueryState<unknown>): boolean => query.data !== undefined && query.failureCount > 0;

type AbsentProps = {
  readonly query: QueryState<unknown>;
  readonly skeleton?: React.ReactNode;
  readonly what?: string | undefined;
};

/** In place of data that are not there: why, or that they are on their way. */
export function Absent({ query, skeleton, what }: AbsentProps) {
  if (query.error) return <Failure error={query.error} retry={query.refetch} what={what} />;
  if (query.fetchStatus === 'paused')
    return (
      <Note tone="silent" title="This device is offline">
        <p>This is loaded once the device is online again.</p>
      </Note>
    );
  return skeleton ?? <Skeleton />;
}

type LoadProps<T> = Omit<AbsentProps, 'query'> & {
  readonly query: QueryState<T>;
  readonly children: (data: T) => React.ReactNode;
};

/** Loading, failed, or the data, which stay on the screen and look old when they become old. */
export function Load<T>({ query, children, ...absent }: LoadProps<T>) {
  const isDenied = query.error instanceof ApiError && [403, 404].includes(query.error.status);
  if (query.data === undefined || isDenied) return <Absent query={query} {...absent} />;
  return <StaleFrame query={query}>{children(query.data)}</StaleFrame>;
}

/** What is old gets a hatched edge, so that nothing looks alive that is not. */
export function StaleFrame({ query, children }: { query: QueryState<unknown>; children: React.ReactNode }) {
  const online = useOnline();
  const old = query.data !== undefined && (isStale(query) || !online);
  return (
    <div className={css.aged} data-old={old || undefined}>
      {children}
    </div>
  );
}

type BlockProps = {
  readonly title: React.ReactNode;
  readonly query?: QueryState<unknown>;
  readonly actions?: React.ReactNode;
  readonly children: React.ReactNode;
};

/** A titled part of a page; with a query of its own it says how fresh it is. */
export function Block({ title, query, actions, children }: BlockProps) {
  return (
    <section className={css.block}>
      <div className={css.head}>
        <h2>{title}</h2>
        {query ? <Freshness query={query} /> : null}
        {actions ? <div className={css.actions}>{actions}</div> : null}
      </div>
      {children}
    </section>
  );
}
