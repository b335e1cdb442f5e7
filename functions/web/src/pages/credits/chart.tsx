import { useEffect, useMemo, useRef } from 'react';
import uPlot from 'uplot';
import { clockTime, money } from '../../ui/format';
import css from './chart.module.css';
import type { Points } from './points';

const HEIGHT = 240;
const HEIGHT_PHONE = 160;

const TOKENS = ['--text', '--muted', '--line', '--accent', '--warn', '--bad', '--surface'] as const;
type Colours = Record<(typeof TOKENS)[number], string>;

/** A token's text may be `light-dark(...)`, which a canvas does not know; as the colour of an element it is resolved. */
function coloursOf(element: HTMLElement): Colours {
  const probe = element.ownerDocument.createElement('span');
  element.append(probe);
  const resolved = TOKENS.map((token) => {
    probe.style.color = `var(${token})`;
    return [token, getComputedStyle(probe).color];
  });
  probe.remove();
  return Object.fromEntries(resolved) as Colours;
}

/** Increment, default, and what changes with the year, the day and so on: as uPlot wants it, in 24 hours. */
const TIMES = [
  [3600 * 24 * 365, '{YYYY}', null, null, null, null, null, null, 1],
  [3600 * 24 * 28, '{MMM}', '\n{YYYY}', null, null, null, null, null, 1],
  [3600 * 24, '{D} {MMM}', '\n{YYYY}', null, null, null, null, null, 1],
  [60, '{HH}:{mm}', '\n{D} {MMM} {YYYY}', null, '\n{D} {MMM}', null, null, null, 1],
] as unknown as uPlot.Axis.Values;

type Live = { points: Points; colours: Colours; now: number };

function line(plot: uPlot, y: number, colour: string, label: string, font: string) {
  const { ctx, bbox } = plot;
  const top = plot.valToPos(y, 'y', true);
  if (top < bbox.top || top > bbox.top + bbox.height) return;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.fillStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, top);
  ctx.lineTo(bbox.left + bbox.width, top);
  ctx.stroke();
  ctx.font = font;
  ctx.textBaseline = 'bottom';
  ctx.textAlign = 'left';
  ctx.fillText(label, bbox.left + 4 * devicePixelRatio, top - 2 * devicePixelRatio);
  ctx.restore();
}

function upright(plot: uPlot, at: number, colour: string, label: string, font: string, index: number) {
  const { ctx, bbox } = plot;
  const left = plot.valToPos(at / 1000, 'x', true);
  if (left < bbox.left || left > bbox.left + bbox.width) return;
  const unit = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.fillStyle = colour;
  ctx.lineWidth = unit;
  ctx.beginPath();
  ctx.moveTo(left, bbox.top);
  ctx.lineTo(left, bbox.top + bbox.height);
  ctx.stroke();
  ctx.font = font;
  ctx.textBaseline = 'top';
  const near = left > bbox.left + bbox.width * 0.6;
  ctx.textAlign = near ? 'right' : 'left';
  ctx.fillText(label, left + (near ? -4 : 4) * unit, bbox.top + (2 + index * 14) * unit);
  ctx.restore();
}

function marks(plot: uPlot, { points, colours, now }: Live) {
  const font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  line(plot, points.low, colours['--warn'], `low ${money(points.low)}`, font);
  line(plot, 0, colours['--bad'], 'empty', font);
  upright(plot, now, colours['--muted'], 'now', font, 0);
  points.shutdowns.forEach((one, index) => {
    upright(plot, one.at, colours['--bad'], `▼ ${one.label} stops`, font, 1 + (index % 5));
  });
}

function optionsFor(live: { current: Live }, width: number, read: (plot: uPlot) => void): uPlot.Options {
  const colour = (token: keyof Colours) => () => live.current.colours[token];
  const axis = {
    stroke: colour('--muted'),
    font: '12px system-ui, sans-serif',
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { stroke: colour('--line'), width: 1, size: 4 },
  };
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  return {
    width,
    height: width < 500 ? HEIGHT_PHONE : HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { points: { size: 7 }, drag: { x: false, y: false }, y: false },
    scales: {
      x: { time: true },
      y: { range: (_plot, _min, max) => [0, Math.max(max, live.current.points.low * 1.25, 0.01) * 1.08] },
    },
    axes: [
      { ...axis, values: TIMES },
      { ...axis, size: 56, values: (_plot, values) => values.map((value) => money(value)) },
    ],
    series: [
      {},
      {
        stroke: colour('--accent'),
        width: 2,
        points: { show: false },
        ...(stepped ? { paths: stepped } : {}),
      },
      { stroke: colour('--accent'), width: 2, dash: [6, 5], points: { show: false }, spanGaps: true },
    ],
    hooks: { draw: [(plot) => marks(plot, live.current)], setCursor: [read] },
  };
}

const dataOf = (points: Points): uPlot.AlignedData =>
  [points.x, points.past, points.forecast].map((list) => [...list]) as uPlot.AlignedData;

/** Loaded with the library when the page needs it. The same is in a table below it. */
export default function Chart({ points, now, label }: { points: Points; now: number; label: string }) {
  const room = useRef<HTMLDivElement>(null);
  const readout = useRef<HTMLParagraphElement>(null);
  const plot = useRef<uPlot | null>(null);
  const live = useRef<Live>({ points, now, colours: {} as Colours });
  const data = useMemo(() => dataOf(points), [points]);
  const first = useRef(data);

  useEffect(() => {
    const element = room.current;
    if (!element) return;
    live.current.colours = coloursOf(element);
    const read = (chart: uPlot) => {
      if (!readout.current) return;
      const index = chart.cursor.idx ?? null;
      const at = index === null ? undefined : chart.data[0][index];
      if (index === null || at === undefined) {
        readout.current.textContent = '';
        return;
      }
      const past = chart.data[1]?.[index];
      const value = past ?? chart.data[2]?.[index];
      const when = clockTime(at * 1000, live.current.now);
      readout.current.textContent =
        value === null || value === undefined ? '' : `${when}: ${money(value)}${past === null ? ' expected' : ''}`;
    };
    const chart = new uPlot(optionsFor(live, element.clientWidth, read), first.current, element);
    plot.current = chart;
    const resize = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (width > 0) chart.setSize({ width, height: width < 500 ? HEIGHT_PHONE : HEIGHT });
    });
    resize.observe(element);
    const recolour = () => {
      live.current.colours = coloursOf(element);
      chart.redraw(false, true);
    };
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', recolour);
    const theme = new MutationObserver(recolour);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
    return () => {
      resize.disconnect();
      theme.disconnect();
      scheme.removeEventListener('change', recolour);
      chart.destroy();
      plot.current = null;
    };
  }, []);

  useEffect(() => {
    live.current.points = points;
    live.current.now = now;
    plot.current?.setData(data);
  }, [points, now, data]);

  return (
    <div>
      <div ref={room} role="img" aria-label={label} className={css.chart} />
      <p ref={readout} className={css.readout} aria-hidden="true" />
    </div>
  );
}
