import { queryOptions, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { api, unwrap } from '../../api/client';
import type { SchemaAgentFigures } from '../../api/openapi.gen';
import { every } from '../../data/client';
import { useNow } from '../../data/clock';
import { figureLines } from '../../data/figures';
import { Facts } from '../../ui/facts';
import { FigureCourse, LatestFigure, NotMeasuredSince } from '../../ui/figure';
import { Block, Load, Skeleton } from '../../ui/states';

const figuresOptions = (id: string) =>
  queryOptions({
    queryKey: ['agent', id, 'figures'],
    queryFn: async ({ signal }) =>
      (await unwrap(api.GET('/api/v1/milady/agents/{agentId}/figures', { params: { path: { agentId: id } }, signal })))
        .data,
    refetchInterval: every(60_000),
  });

/** What its container used in the last 24 hours. */
export default function Figures({ id }: { id: string }) {
  const query = useQuery(figuresOptions(id));
  return (
    <Block title="What it uses" query={query}>
      <Load query={query} what="What it uses" skeleton={<Skeleton lines={3} />}>
        {(figures) => <Shown figures={figures} />}
      </Load>
    </Block>
  );
}

function Shown({ figures }: { figures: SchemaAgentFigures }) {
  const now = useNow(60);
  const times = useMemo(() => figures.times.map((time) => Date.parse(time)), [figures.times]);
  const lines = useMemo(() => figureLines(figures.series), [figures.series]);
  const last = times.at(-1);
  if (last === undefined)
    return <p className="muted">No figures yet. The first ones appear within ten minutes after its start.</p>;
  return (
    <div className="stack">
      {figures.stale ? <NotMeasuredSince at={last} /> : null}
      <Facts
        facts={lines.map((line) => ({
          name: line.name,
          value: <LatestFigure line={line} />,
          more: <FigureCourse line={line} times={times} now={now} />,
        }))}
      />
    </div>
  );
}
