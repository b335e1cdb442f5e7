import { Plus, Rows3, Rows4 } from 'lucide-react';
import { lazy, Suspense, useCallback, useDeferredValue, useEffect, useMemo, useRef, useState } from 'react';
import { useLocation, useSearch } from 'wouter';
import { type AgentView, useAgents } from '../../data/agents';
import { nameOf } from '../../data/announcer';
import { serverNow, useNow } from '../../data/clock';
import { useConfig, useCredit } from '../../data/credit';
import { agentsSentence } from '../../data/sentence';
import { useWhyNot } from '../../data/session';
import { type Filter, isCustom, matches, shown } from '../../data/shown';
import { useUrlState } from '../../data/url';
import { Button, ButtonLink, IconButton } from '../../ui/button';
import { Chips, TextInput } from '../../ui/field';
import { unitPrice } from '../../ui/format';
import { Page } from '../../ui/page';
import { Absent, Note, Skeleton, StaleFrame } from '../../ui/states';
import { DataTable } from '../../ui/table';
import { setDensity, useDensity } from '../../ui/theme';
import { AgentDetail, makeColumns } from './columns';
import css from './page.module.css';

const Create = lazy(() => import('./create'));

const DEFAULTS = { q: '', status: 'all', kind: 'all', sort: '-created' };
const FILTERS: readonly { readonly value: Filter; readonly label: string }[] = [
  { value: 'all', label: 'All' },
  { value: 'running', label: 'Running' },
  { value: 'needs', label: 'Needs you' },
  { value: 'stopped', label: 'Stopped' },
];

export default function Agents() {
  const { query, agents, listed } = useAgents();
  const credit = useCredit().data;
  const config = useConfig().data;
  const [location, navigate] = useLocation();
  const search = useSearch();
  const now = useNow(30);
  const rows = useMemo(() => agents.map((agent) => agent.row), [agents]);
  const blocked = useWhyNot('create');
  const shownAny = listed || agents.length > 0;
  return (
    <Page
      title="Agents"
      sentence={listed ? agentsSentence(rows, credit, now) : null}
      query={query}
      actions={
        <ButtonLink look="primary" blocked={blocked} href={`/agents/new${search ? `?${search}` : ''}`}>
          <Plus size={16} aria-hidden="true" /> New agent
        </ButtonLink>
      }
    >
      {shownAny ? (
        agents.length === 0 ? (
          <Nothing price={config?.prices.running ?? null} />
        ) : (
          <StaleFrame query={query}>
            <List agents={agents} idlePrice={config?.prices.idle ?? null} defaultImage={config?.defaultImage ?? null} />
          </StaleFrame>
        )
      ) : (
        <Absent query={query} skeleton={<Skeleton lines={8} height="1.75rem" />} />
      )}
      {location === '/agents/new' ? (
        <Suspense fallback={null}>
          <Create onClose={() => navigate(`/agents${rest(search)}`)} />
        </Suspense>
      ) : null}
    </Page>
  );
}

/** The list's filters without what the dialog keeps in the address. */
function rest(search: string): string {
  const params = new URLSearchParams(search);
  params.delete('agent');
  params.delete('job');
  return params.size > 0 ? `?${params}` : '';
}

type ListProps = {
  readonly agents: readonly AgentView[];
  readonly idlePrice: number | null;
  readonly defaultImage: string | null;
};

function List({ agents, idlePrice, defaultImage }: ListProps) {
  const [{ q, status, kind, sort }, setUrl] = useUrlState(DEFAULTS);
  const [, navigate] = useLocation();
  const text = useDeferredValue(q.trim().toLowerCase());
  const order = useDeferredValue(sort);
  const filter = useDeferredValue(FILTERS.find((one) => one.value === status)?.value ?? 'all');
  // Once a minute is enough for "silent": a finer clock would filter 2,000 rows each second.
  const minute = useNow(60);
  const counted = useMemo(() => {
    const now = Math.max(minute, serverNow());
    const states = agents.map((agent) => ({
      agent,
      state: shown(agent.row, agent.doing, now),
      custom: isCustom(agent.row, defaultImage),
    }));
    const found = states.filter(
      ({ agent }) => !text || nameOf(agent.row).toLowerCase().includes(text) || agent.id.startsWith(text),
    );
    const ofKind = found.filter(({ custom }) => kind === 'all' || (kind === 'custom') === custom);
    const count = (value: Filter) => ofKind.filter(({ agent, state }) => matches(value, agent.row, state)).length;
    return {
      rows: ofKind.filter(({ agent, state }) => matches(filter, agent.row, state)).map(({ agent }) => agent),
      filters: FILTERS.map((one) => ({ ...one, count: count(one.value) })),
      custom: states.some((one) => one.custom),
    };
  }, [agents, text, filter, kind, minute, defaultImage]);
  const columns = useMemo(() => makeColumns(idlePrice, defaultImage), [idlePrice, defaultImage]);
  const find = useCallback((next: string) => setUrl({ q: next }), [setUrl]);
  const open = useCallback((agent: AgentView) => navigate(`/agents/${agent.id}`), [navigate]);
  const detail = useCallback((agent: AgentView) => AgentDetail(agent), []);

  return (
    <div>
      <div className={css.tools}>
        <Search value={q} onChange={find} />
        <Chips
          label="Which agents"
          value={filter}
          options={counted.filters}
          onChange={(next) => setUrl({ status: next })}
        />
        {counted.custom || kind !== 'all' ? (
          <Chips
            label="Which images"
            value={kind}
            options={[
              { value: 'all', label: 'Any image' },
              { value: 'managed', label: 'Managed' },
              { value: 'custom', label: 'Custom' },
            ]}
            onChange={(next) => setUrl({ kind: next })}
          />
        ) : null}
        <Density />
      </div>
      {counted.rows.length > 0 ? (
        <DataTable
          caption="Your agents"
          rows={counted.rows}
          columns={columns}
          id={idOf}
          sort={order}
          onSort={(next) => setUrl({ sort: next })}
          onOpen={open}
          detail={detail}
        />
      ) : (
        <Note title="No agent is like that" actions={<Button onClick={() => setUrl(DEFAULTS)}>Show all agents</Button>}>
          <p>
            None of {agents.length} agents has {text ? `“${q}” in its name` : 'this status'}.
          </p>
        </Note>
      )}
    </div>
  );
}

const idOf = (agent: AgentView) => agent.id;

/** What is typed reaches the address, and the list, a moment later: browsers limit how often the address may change. */
function Search({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(value);
  const [from, setFrom] = useState(value);
  if (from !== value) {
    setFrom(value);
    setText(value);
  }
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text), 150);
    return () => clearTimeout(timer);
  }, [text, value, onChange]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.key !== '/' || event.ctrlKey || event.metaKey) return;
      if (target.matches('input, textarea, select, [role="dialog"] *')) return;
      event.preventDefault();
      input.current?.focus();
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);
  return (
    <div className={css.search}>
      <TextInput
        ref={input}
        type="search"
        aria-label="Search by name or identifier"
        aria-keyshortcuts="/"
        placeholder="/ Search name or id"
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== 'Escape' || !text) return;
          event.preventDefault();
          setText('');
        }}
      />
    </div>
  );
}

function Density() {
  const dense = useDensity() === 'dense';
  return (
    <IconButton
      label={dense ? 'Roomier rows' : 'Denser rows'}
      className={css.density}
      onClick={() => setDensity(dense ? 'comfortable' : 'dense')}
    >
      {dense ? <Rows3 size={16} aria-hidden="true" /> : <Rows4 size={16} aria-hidden="true" />}
    </IconButton>
  );
}

function Nothing({ price }: { price: number | null }) {
  const blocked = useWhyNot('create');
  return (
    <Note
      title="No agents yet"
      actions={
        <ButtonLink look="primary" blocked={blocked} href="/agents/new">
          Create your first agent
        </ButtonLink>
      }
    >
      <p>
        An agent is a container of yours on one of our hosts, with a database of its own.
        {price === null
          ? ''
          : ` It costs ${unitPrice(price)} an hour while it runs, and nothing before its first start.`}
      </p>
    </Note>
  );
}
