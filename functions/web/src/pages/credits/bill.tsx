import { Download } from 'lucide-react';
import { useMemo, useState } from 'react';
import { useAgents } from '../../data/agents';
import { nameOf } from '../../data/announcer';
import { toast } from '../../data/toasts';
import { Button } from '../../ui/button';
import { DateRange } from '../../ui/date-range';
import { Chips, Field, Select } from '../../ui/field';
import { Filters } from '../../ui/filters';
import { byName } from '../../ui/format';
import { Refusal } from '../../ui/refusal';
import { Block } from '../../ui/states';
import { downloadCsv } from './data';
import { bounds, historyQuery } from './filters';
import { Transactions } from './transactions';
import { UsageTable } from './usage';
import { KNOWN_TYPES, typeWord } from './words';

export type BillState = {
  readonly view: string;
  readonly type: string;
  readonly agent: string;
  readonly from: string;
  readonly to: string;
  readonly sort: string;
};
type Props = { readonly state: BillState; readonly change: (changed: Partial<BillState>) => void };

const VIEWS = [
  { value: 'rows', label: 'Row by row' },
  { value: 'agent', label: 'By agent' },
  { value: 'day', label: 'By day' },
] as const;
type View = (typeof VIEWS)[number]['value'];
const isView = (text: string): text is View => VIEWS.some((view) => view.value === text);

const SORT = { rows: '', agent: '-amount', day: '-day' } as const;

/** The bill: what changed the balance, and who used what. */
export function Bill({ state, change }: Props) {
  const view = isView(state.view) ? state.view : 'rows';
  const { type, agent, from, to } = state;
  const filters = useMemo(() => ({ type: agent ? '' : type, agent, from, to }), [type, agent, from, to]);
  const narrowed = type || agent || from || to;
  return (
    <Block title="The bill" actions={<Csv view={view} filters={filters} />}>
      <Filters
        label="Narrow the bill"
        onClear={narrowed ? () => change({ type: '', agent: '', from: '', to: '' }) : null}
      >
        <Chips
          label="Grouped"
          value={view}
          onChange={(next) => change({ view: next, sort: SORT[next] })}
          options={VIEWS}
        />
        <DateRange from={from} to={to} onChange={change} />
        <AgentSelect value={agent} onChange={(next) => change({ agent: next })} />
        {view === 'rows' ? (
          <Field label="Type">
            <Select
              value={agent ? 'usage' : type}
              disabled={agent !== ''}
              onChange={(e) => change({ type: e.target.value })}
            >
              <option value="">All</option>
              {[...new Set([...KNOWN_TYPES, ...(type ? [type] : [])])].map((one) => (
                <option key={one} value={one}>
                  {typeWord(one)}
                </option>
              ))}
            </Select>
          </Field>
        ) : null}
      </Filters>
      {view === 'rows' ? (
        <Transactions filters={filters} />
      ) : (
        <UsageTable
          group={view}
          filters={filters}
          sort={state.sort || SORT[view]}
          onSort={(sort) => change({ sort })}
          onAgent={(id) => change({ view: 'rows', agent: id, sort: '' })}
          onDay={(day) => change({ view: 'agent', from: day, to: day, sort: '' })}
        />
      )}
    </Block>
  );
}

/** Agents that are deleted are in no list, but a link may name one. */
function AgentSelect({ value, onChange }: { value: string; onChange: (id: string) => void }) {
  const { agents } = useAgents();
  const options = useMemo(
    () => agents.map(({ row }) => ({ id: row.id, name: nameOf(row) })).sort((a, b) => byName(a.name, b.name)),
    [agents],
  );
  const known = options.some((option) => option.id === value);
  return (
    <Field label="Agent">
      <Select value={value} onChange={(event) => onChange(event.target.value)}>
        <option value="">All</option>
        {value && !known ? <option value={value}>{value.slice(0, 8)} (deleted)</option> : null}
        {options.map((option) => (
          <option key={option.id} value={option.id}>
            {option.name}
          </option>
        ))}
      </Select>
    </Field>
  );
}

function Csv({ view, filters }: { view: View; filters: Parameters<typeof historyQuery>[0] }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const get = async () => {
    setBusy(true);
    setError(null);
    const days = [filters.from, filters.to].filter(Boolean).join('_');
    try {
      if (view === 'rows')
        await downloadCsv('/api/v1/credits/transactions', historyQuery(filters), `bill${days && `-${days}`}.csv`);
      else
        await downloadCsv(
          '/api/v1/credits/usage',
          { group: view, ...bounds(filters), ...(filters.agent ? { agentId: filters.agent } : {}) },
          `use-by-${view}${days && `-${days}`}.csv`,
        );
      toast({ tone: 'ok', text: 'The CSV file is downloaded.' });
    } catch (failure) {
      setError(failure as Error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      {error ? <Refusal error={error} title="No file" onDismiss={() => setError(null)} /> : null}
      <Button small busy={busy} onClick={() => void get()}>
        <Download size={14} aria-hidden="true" /> CSV
      </Button>
    </>
  );
}
