import { type Degrees, type Problem, ranksOf } from "@hsap/schedule";
import { InputError } from "@hsap/workload";

/**
 * The degrees named by a strategy, 1 where the user gave none.
 *
 * @throws InputError if a degree is unknown to the strategy or no positive whole number, or if they do not multiply to the
 * ranks of the problem.
 */
export function checkedDegrees(
  strategy: { readonly name: string; readonly degreeNames: readonly string[] },
  problem: Problem,
  degrees: Degrees,
): Degrees {
  const { name, degreeNames } = strategy;
  for (const [degree, value] of Object.entries(degrees)) {
    if (!degreeNames.includes(degree)) {
      throw new InputError(`unknown degree: ${degree} (${name} has ${degreeNames.join(", ") || "none"})`);
    }
    if (!Number.isInteger(value) || value < 1) {
      throw new InputError(`invalid degree: ${degree}=${value} (must be a whole number of at least 1)`);
    }
  }
  const checked = Object.fromEntries(degreeNames.map((degree) => [degree, degrees[degree] ?? 1]));
  const product = Object.values(checked).reduce((a, b) => a * b, 1);
  if (product !== ranksOf(problem)) {
    const given = degreeNames.map((degree) => `${degree}=${checked[degree]}`).join(",");
    throw new InputError(`invalid degrees: ${given} (must multiply to ${ranksOf(problem)} ranks)`);
  }
  return checked;
}
