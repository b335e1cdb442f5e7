import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { api, unwrap } from '../../api/client';
import { ApiError } from '../../api/errors';
import type { SchemaNetwork } from '../../api/openapi.gen';
import { client, every } from '../../data/client';
import { useNow } from '../../data/clock';
import { useUrlState } from '../../data/url';
import { Button } from '../../ui/button';
import { Chips, Field, TextInput } from '../../ui/field';
import { Filters } from '../../ui/filters';
import { many } from '../../ui/format';
import { Page } from '../../ui/page';
import { Block, Load, Note, Skeleton } from '../../ui/states';
import { Badge, Status } from '../../ui/status';
import { type Column, DataTable } from '../../ui/table';
import { nameKey } from '../../ui/table-order';
import { Age, Countdown } from '../../ui/time';
import { FleetNav } from '../fleet/subnav';
import css from './page.module.css';
import { matches, networkSentence, SHOWS, type Show, showOf } from './peers';

type Peer = SchemaNetwork['vpnNodes'][number];
const DEFAULTS = { q: '', show: 'all', sort: 'state' };

const COLUMNS: readonly Column<Peer>[] = [
  {
    id: 'name',
    header: 'Name',
    card: 'title',
    sort: (peer) => nameKey(peer.givenName || peer.name),
    cell: (peer) => (
      <span className={css.two}>
        <span className="clip">{peer.givenName || peer.name}</span>
        {peer.givenName && peer.name !== peer.givenName ? <span className={css.note}>{peer.name}</span> : null}
      </span>
    ),
  },
  {
    id: 'state',
    header: 'State',
    card: 'aside',
    width: '9rem',
    sort: (peer) => (peer.online ? 1 : 0),
    cell: (peer) => <Status tone={peer.online ? 'ok' : 'bad'}>{peer.online ? 'Online' : 'Offline'}</Status>,
  },
  {
    id: 'seen',
    header: 'Last seen',
    width: '7rem',
    sort: (peer) => (peer.lastSeen === null ? null : -Date.parse(peer.lastSeen)),
    cell: (peer) => <Age at={peer.lastSeen} none="never" />,
  },
  {
    id: 'address',
    header: 'Addresses',
    width: '26%',
    cell: (peer) => <code className={css.addresses}>{peer.ipAddresses.join(' ')}</code>,
  },
  {
    id: 'expiry',
    header: 'Its key expires',
    width: '10rem',
    from: 'm',
    sort: (peer) => (peer.expiry === null ? null : Date.parse(peer.expiry)),
    cell: (peer) => (peer.expiry === null ? <span className="muted">never</span> : <Expiry at={peer.expiry} />),
  },
  {
    id: 'tags',
    header: 'User, tags',
    width: '14%',
    from: 'l',
    cell: (peer) => (
      <span className="row">
        {peer.user === null ? <span className="muted">no user</span> : peer.user}
        {peer.tags.map((tag) => (
          <Badge key={tag}>{tag}</Badge>
        ))}
      </span>
    ),
  },
];

function Expiry({ at }: { at: string }) {
  const now = useNow(60);
  const over = Date.parse(at) <= now;
  return over ? <Status tone="bad">expired</Status> : <Countdown to={at} />;
}

export default function NetworkPage() {
  const query = useQuery(
    {
      queryKey: ['network'],
      queryFn: async ({ signal }) => (await unwrap(api.GET('/api/v1/admin/headscale', { signal }))).data,
      refetchInterval: every(60_000),
      // 503 says that it is not set up; trying four times more would not change that.
      retry: (failures, error) => !(error instanceof ApiError && [502, 503].includes(error.status)) && failures < 4,
    },
    client,
  );
  const [state, change] = useUrlState(DEFAULTS);
  const show = showOf(state.show);
  const peers = useMemo(
    () => query.data?.vpnNodes.filter((peer) => matches(peer, show, state.q)) ?? [],
    [query.data, show, state.q],
  );
  const off = query.error instanceof ApiError && query.error.status === 503 && query.data === undefined;
  return (
    <Page
      title="Private network"
      tab="Private network - Fleet"
      query={query}
      sentence={query.data ? networkSentence(query.data) : 'The Headscale network between agents and this cloud.'}
    >
      <FleetNav />
      {off ? (
        <Note
          tone="off"
          title="No private network to show"
          actions={
            <Button busy={query.isFetching} onClick={() => void query.refetch()}>
              Ask again
            </Button>
          }
        >
          <p>{query.error?.message}</p>
          <p>
            A deployment shows it here when it has a Headscale server: its address and key are settings of this cloud
            (HEADSCALE_API_URL and HEADSCALE_API_KEY). Agents run without it.
          </p>
        </Note>
      ) : (
        <Load query={query} skeleton={<Skeleton lines={6} height="2rem" />}>
          {({ vpnNodes, user, summary }) => (
            <Block title={`Nodes of ${user}: ${vpnNodes.length}`}>
              <Filters label="Narrow the nodes">
                <Chips
                  label="Show"
                  value={show}
                  onChange={(next: Show) => change({ show: next })}
                  options={SHOWS.map((one) => ({
                    ...one,
                    count: { all: summary.total, online: summary.online, offline: summary.offline }[one.value],
                  }))}
                />
                <Field label="Name, address or tag">
                  <TextInput type="search" value={state.q} onChange={(event) => change({ q: event.target.value })} />
                </Field>
              </Filters>
              {peers.length === 0 ? (
                <Note title={vpnNodes.length === 0 ? 'The network has no node yet' : 'No node fits'}>
                  <p>
                    {vpnNodes.length === 0
                      ? `Machines that join it as ${user} appear here.`
                      : `Other words may show some of ${many(vpnNodes.length, 'node')}.`}
                  </p>
                </Note>
              ) : (
                <DataTable
                  caption="Nodes of the private network"
                  rows={peers}
                  columns={COLUMNS}
                  id={(peer) => peer.id}
                  sort={state.sort}
                  onSort={(sort) => change({ sort })}
                />
              )}
            </Block>
          )}
        </Load>
      )}
    </Page>
  );
}
