import type { ComponentProps } from 'react';
import css from './button.module.css';
import { Link } from './link';

type Look = { readonly look?: 'primary' | 'plain' | 'quiet' | 'danger'; readonly small?: boolean };
type Props = ComponentProps<'button'> & Look & { readonly busy?: boolean };

const classes = (look: Look['look'], small: boolean | undefined, extra: string | undefined) =>
  [css.button, css[look ?? 'plain'], small && css.small, extra].filter(Boolean).join(' ');

/** `busy` keeps the focus and the label, says that it works, and ignores further clicks. */
export function Button({ look, small, busy, className, onClick, type = 'button', ...rest }: Props) {
  return (
    <button
      {...rest}
      type={type}
      aria-disabled={busy || undefined}
      aria-busy={busy || undefined}
      className={classes(look, small, className)}
      onClick={busy ? (event) => event.preventDefault() : onClick}
    />
  );
}

export function ButtonLink({
  look,
  small,
  className,
  ...rest
}: { href: string } & Omit<ComponentProps<'a'>, 'href'> & Look) {
  return <Link {...rest} className={classes(look, small, className)} />;
}

/** A square button with an icon: `label` is its name for everybody. */
export function IconButton({
  label,
  className,
  ...rest
}: Omit<Props, 'aria-label' | 'title'> & { readonly label: string }) {
  return (
    <Button look="quiet" {...rest} aria-label={label} title={label} className={`${css.icon} ${className ?? ''}`} />
  );
}
