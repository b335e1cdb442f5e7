import { queryOptions, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { api, unwrap } from '../../api/client';
import type { SchemaHostFigures } from '../../api/openapi.gen';
import type { NodeContainer } from '../../api/operations';
import { every } from '../../data/client';
import { useNow } from '../../data/clock';
import { type FigureLine, figureLines } from '../../data/figures';
import { FigureCourse, LatestFigure, NotMeasuredSince } from '../../ui/figure';
import { PlainTable } from '../../ui/plain-table';
import { Block, Load, Skeleton } from '../../ui/states';
import type { Column } from '../../ui/table';

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
      {figures.stale ? <NotMeasuredSince at={last} /> : null}
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
            <LatestFigure line={line} />
            <br />
            <FigureCourse line={line} times={times} now={now} />
          </>
        ) : null;
      },
    }),
  );
  return [{ id: 'agent', header: 'Agent', card: 'title', cell: (row) => row.name }, ...figures];
}
