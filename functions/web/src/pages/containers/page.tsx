import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { client } from '../../data/client';
import { useUrlState } from '../../data/url';
import { Chips, Field, Select, TextInput } from '../../ui/field';
import { Filters } from '../../ui/filters';
import { Page } from '../../ui/page';
import { Block, Failure, Load, Note, Skeleton } from '../../ui/states';
import { fleetOptions, hostsOptions } from '../fleet/data';
import { FleetNav } from '../fleet/subnav';
import { ContainerTable } from './container-table';
import { containersOptions, isStatus, STATUSES } from './data';
import {
  agentView,
  type ContainerView,
  containersSentence,
  isShow,
  matchesShow,
  matchesText,
  type Show,
  unclaimedView,
} from './view';

const DEFAULTS = { q: '', show: 'all', status: '', node: '', kind: '', sort: 'health' };
const SHOWS: readonly { readonly value: Show; readonly label: string }[] = [
  { value: 'all', label: 'All' },
  { value: 'attention', label: 'Need attention' },
  { value: 'missing', label: 'Missing' },
  { value: 'unclaimed', label: 'Unclaimed' },
];

const kindOf = (view: ContainerView) => view.row?.containerKind;

export default function Containers() {
  const [state, change] = useUrlState(DEFAULTS);
  const status = isStatus(state.status) ? state.status : '';
  const rows = useQuery(containersOptions(status, state.node), client);
  const fleet = useQuery(fleetOptions, client);
  const views = useMemo(() => {
    const seen = new Map(fleet.data?.containers.map((one) => [one.id, one]));
    const agents = rows.data?.rows.map((row) => agentView(row, seen.get(row.id))) ?? [];
    const hosts = fleet.data?.nodes.filter((host) => !state.node || host.nodeId === state.node) ?? [];
    const unclaimed = status
      ? []
      : hosts.flatMap((host) => host.ghostContainers.map((found) => unclaimedView(host.nodeId, found)));
    return [...agents, ...unclaimed];
  }, [rows.data, fleet.data, status, state.node]);
  const show = isShow(state.show) ? state.show : 'all';
  const found = useMemo(
    () =>
      views.filter(
        (view) => matchesShow(show, view) && matchesText(state.q, view) && (!state.kind || kindOf(view) === state.kind),
      ),
    [views, show, state.q, state.kind],
  );
  const narrowed = state.q || state.status || state.node || state.kind || show !== 'all';
  const chips = SHOWS.map((one) => ({ ...one, count: views.filter((view) => matchesShow(one.value, view)).length }));
  return (
    <Page
      title="Containers"
      query={rows}
      sentence={
        rows.data
          ? containersSentence(views, rows.data.total)
          : 'The agents of all organizations, and what is on their hosts.'
      }
    >
      <FleetNav />
      <Block title="Agents and their containers" query={fleet}>
        {fleet.error && fleet.data === undefined ? <NoFleet error={fleet.error} retry={fleet.refetch} /> : null}
        <Filters
          label="Narrow the containers"
          onClear={narrowed ? () => change({ q: '', status: '', node: '', kind: '', show: 'all' }) : null}
        >
          <Chips label="Show" value={show} onChange={(next) => change({ show: next })} options={chips} />
          <Field label="Name or id">
            <TextInput type="search" value={state.q} onChange={(event) => change({ q: event.target.value })} />
          </Field>
          <HostSelect value={state.node} onChange={(node) => change({ node })} />
          <Field label="Row says">
            <Select value={status} onChange={(event) => change({ status: event.target.value })}>
              <option value="">Any status</option>
              {STATUSES.map((word) => (
                <option key={word} value={word}>
                  {word}
                </option>
              ))}
            </Select>
          </Field>
          {views.some((view) => kindOf(view) !== undefined) ? (
            <Field label="Image">
              <Select value={state.kind} onChange={(event) => change({ kind: event.target.value })}>
                <option value="">Any</option>
                <option value="managed">managed (the default)</option>
                <option value="custom">custom</option>
              </Select>
            </Field>
          ) : null}
        </Filters>
        <Load query={rows} skeleton={<Skeleton lines={8} height="2rem" />}>
          {({ cut, total, rows: held }) => (
            <>
              {found.length === 0 ? <None all={views.length === 0} /> : null}
              {found.length > 0 ? (
                <ContainerTable
                  caption="Containers"
                  views={found}
                  sort={state.sort}
                  onSort={(sort) => change({ sort })}
                />
              ) : null}
              {cut ? (
                <p className="muted">
                  These are the newest {held.length} of {total} agents. A host or a status narrows them.
                </p>
              ) : null}
            </>
          )}
        </Load>
      </Block>
    </Page>
  );
}

function None({ all }: { all: boolean }) {
  return all ? (
    <Note title="No agent has a place on a host">
      <p>An agent gets one when it is started for the first time.</p>
    </Note>
  ) : (
    <Note title="Nothing fits these filters">
      <p>Other words, or all containers, may show some.</p>
    </Note>
  );
}

/** Without an inspection the rows are shown, and nothing is said about their containers. */
function NoFleet({ error, retry }: { error: Error; retry: () => unknown }) {
  return (
    <>
      <Failure error={error} retry={retry} />
      <p className="muted">The hosts were not read, so nothing below says whether a container is there.</p>
    </>
  );
}

function HostSelect({ value, onChange }: { value: string; onChange: (nodeId: string) => void }) {
  const { data } = useQuery(hostsOptions, client);
  const known = data?.some((host) => host.nodeId === value) ?? false;
  return (
    <Field label="Host">
      <Select value={value} onChange={(event) => onChange(event.target.value)}>
        <option value="">Any</option>
        {value && !known ? <option value={value}>{value}</option> : null}
        {data?.map((host) => (
          <option key={host.id} value={host.nodeId}>
            {host.nodeId}
          </option>
        ))}
      </Select>
    </Field>
  );
}
