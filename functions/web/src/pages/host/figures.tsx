import { queryOptions, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { api, unwrap } from '../../api/client';
import type { SchemaHostFigures } from '../../api/openapi.gen';
import type { NodeContainer } from '../../api/operations';
import { every } from '../../data/client';
import { useNow } from '../../data/clock';
import { type FigureLine, figureLines } from '../../data/figures';
import { PlainTable } from '../../ui/plain-table';
import { Sparkline } from '../../ui/sparkline';
import { Block, Load, Skeleton } from '../../ui/states';
import { Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Moment } from '../../ui/time';

const figuresOptions = (nodeId: string) =>
  queryOptions({
    queryKey: ['host', nodeId, 'figures'],
    queryFn: async ({ signal }) =>
      (await unwrap(api.GET('/api/v1/admin/docker-nodes/{nodeId}/figures', { params: { path: { nodeId } }, signal })))
        .data,
    refetchInterval: every(60_000),
  });

type Props = { readonly nodeId: string; readonly containers: readonly NodeContainer[] };

/** What each agent on the host used in the last 24 hours. */
export function Figures({ nodeId, containers }: Props) {
  const query = useQuery(figuresOptions(nodeId));
  return (
    <Block title="What its agents use" query={query}>
      <Load query={query} what="What its agents use" skeleton={<Skeleton lines={3} />}>
        {(figures) => <Shown figures={figures} containers={containers} />}
      </Load>
    </Block>
  );
}

type Row = { readonly id: string; readonly name: string; readonly lines: readonly FigureLine[] };

function Shown({ figures, containers }: { figures: SchemaHostFigures; containers: readonly NodeContainer[] }) {
  const now = useNow(60);
  const times = useMemo(() => figures.times.map((time) => Date.parse(time)), [figures.times]);
  // In the order of the containers. Agents that were here before have no row.
  const rows = useMemo(() => {
    const series = new Map(figures.agents.map((agent) => [agent.agentId, agent.series]));
    return containers.flatMap((container): Row[] => {
      const known = series.get(container.id);
      const name = container.agentName ?? container.id.slice(0, 8);
      return known ? [{ id: container.id, name, lines: figureLines(known) }] : [];
    });
  }, [figures.agents, containers]);
  const columns = useMemo(() => columnsOf(rows[0]?.lines ?? [], times, now), [rows, times, now]);
  const last = times.at(-1);
  if (last === undefined || rows.length === 0)
    return <p className="muted">No figures yet. The first ones appear within ten minutes after a start.</p>;
  return (
    <div className="stack">
      {figures.stale ? (
        <p>
          <Status tone="silent">
            Not measured since <Moment at={last} />
          </Status>
        </p>
      ) : null}
      <PlainTable caption="What each agent on this host uses" rows={rows} columns={columns} id={(row) => row.id} />
    </div>
  );
}

function columnsOf(lines: readonly FigureLine[], times: readonly number[], now: number): readonly Column<Row>[] {
  const figures = lines.map(
    ({ name }, index): Column<Row> => ({
      id: name,
      header: name,
      cell: ({ lines }) => {
        const line = lines[index];
        return line ? (
          <>
            {line.now} {line.note ? <span className="muted">{line.note}</span> : null}
            <br />
            <Sparkline label={line.sentence} times={times} lines={line.lines} to={now} max={line.max} />
          </>
        ) : null;
      },
    }),
  );
  return [{ id: 'agent', header: 'Agent', card: 'title', cell: (row) => row.name }, ...figures];
}
